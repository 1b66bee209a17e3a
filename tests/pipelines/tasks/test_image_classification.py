"""The task's metrics against scikit-learn and closed forms."""
import numpy as np
import pytest
from sklearn import metrics

from pipelines.tasks.image_classification import Answers, ask, calibration_error, measure


@pytest.fixture
def answers():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 400)
    logits = generator.normal(size=(400, 5)).astype("float32")
    logits[np.arange(400), labels] += 1.5
    return Answers(logits, labels)


def test_metrics_are_scikit_learns(answers):
    found = measure(answers, list("abcde"))
    predicted = answers.logits.argmax(axis=1)
    assert found.metrics["accuracy"] == pytest.approx(metrics.accuracy_score(answers.labels, predicted), abs=1e-6)
    assert found.metrics["macro_f1"] == pytest.approx(metrics.f1_score(answers.labels, predicted, average="macro"), abs=1e-6)
    assert found.metrics["top3"] == pytest.approx(metrics.top_k_accuracy_score(answers.labels, answers.logits, k=3), abs=1e-6)
    assert [one.recall for one in found.classes] == pytest.approx(metrics.recall_score(answers.labels, predicted, average=None), abs=1e-6)
    assert np.array(found.confusion).sum() == 400
    assert found.confusion[1][2] == int(((answers.labels == 1) & (predicted == 2)).sum())


def test_a_class_that_no_example_has_counts_as_nothing():
    found = measure(Answers(np.eye(3)[[0, 1, 1]], np.array([0, 1, 1])), ["a", "b", "c"])
    assert [one.examples for one in found.classes] == [1, 2, 0]
    assert found.metrics["accuracy"] == 1


def test_calibration_error_is_confidence_minus_accuracy_in_one_bin():
    """Ten answers, each 80 % sure, six of them right: 0.2 off."""
    logits = np.log(np.tile([[0.8, 0.2]], (10, 1)))
    labels = np.array([0] * 6 + [1] * 4)
    assert calibration_error(Answers(logits, labels)) == pytest.approx(0.2)


def test_calibration_error_weighs_bins_by_their_examples():
    """Three quarters at 90 %, all right (0.1 off); a quarter at 60 %, none right (0.6 off)."""
    logits = np.log(np.array([[0.9, 0.1]] * 3 + [[0.6, 0.4]]))
    assert calibration_error(Answers(logits, np.array([0, 0, 0, 1]))) == pytest.approx(0.75 * 0.1 + 0.25 * 0.6)


def test_the_scores_are_a_softmax_that_does_not_overflow():
    scores = Answers(np.array([[1000.0, 999.0]]), np.array([0])).scores
    assert scores[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))


def test_batches_are_asked_one_by_one():
    class Brightness:
        def predict(self, inputs):
            mean = inputs["image"].mean(axis=(1, 2, 3))
            return {"logits": np.stack([mean, 100 - mean], axis=1)}

    pictures = np.array([0, 200, 90], "uint8")[:, None, None, None] * np.ones((1, 2, 2, 1), "uint8")
    found = ask(Brightness(), [(pictures[:2], np.array([1, 0])), (pictures[2:], np.array([0]))])
    assert found.predicted.tolist() == [1, 0, 0]
    assert found.labels.tolist() == [1, 0, 0]
