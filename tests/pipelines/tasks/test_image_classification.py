"""The task's metrics against scikit-learn and closed forms."""
import numpy as np
import pytest
from sklearn import metrics

from export.signature import Tensor
from pipelines.features import Learnt
from pipelines.ingest.index import Index, Split
from pipelines.tasks.classes import calibration_error, softmax
from pipelines.tasks.image_classification import ImageClassification
from pipelines.tasks.task import Evaluation, Metric


def index_of(names: list[str]) -> Index:
    return Index(source="x", digest="", splits={"test": Split(part="test", positions=None, examples=1)},
                 inputs={"image": Tensor(name="image", dtype="uint8", shape=(2, 2, 1), role="image")},
                 targets={"label": Tensor(name="label", dtype="int64", shape=())},
                 learnt={"label": Learnt(names=names)})


def measured(logits, labels, names, batches=1) -> Evaluation:
    measure = ImageClassification().measure(index_of(list(names)))
    for some, true in zip(np.array_split(np.asarray(logits), batches), np.array_split(np.asarray(labels), batches),
                          strict=True):
        measure.add({"label": true}, {"logits": some})
    return measure.result()


@pytest.fixture
def answers():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 400)
    logits = generator.normal(size=(400, 5)).astype("float32")
    logits[np.arange(400), labels] += 1.5
    return logits, labels


def test_metrics_are_scikit_learns(answers):
    logits, labels = answers
    result = measured(logits, labels, "abcde", batches=7)
    predicted = logits.argmax(axis=1)
    assert list(result.metrics) == [metric.name for metric in ImageClassification().metrics]
    assert result.metrics["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted), abs=1e-6)
    assert result.metrics["macro_f1"] == pytest.approx(metrics.f1_score(labels, predicted, average="macro"), abs=1e-6)
    assert result.metrics["top3"] == pytest.approx(metrics.top_k_accuracy_score(labels, logits, k=3), abs=1e-6)
    recalls = [row[3] for row in result.tables[0].rows]
    assert recalls == pytest.approx(metrics.recall_score(labels, predicted, average=None), abs=1e-6)


def test_a_class_that_no_example_has_counts_as_nothing():
    result = measured(np.eye(3)[[0, 1, 1]], [0, 1, 1], "abc")
    assert [row[1] for row in result.tables[0].rows] == [1, 2, 0]
    assert result.metrics["accuracy"] == 1


def test_calibration_error_is_confidence_minus_accuracy_in_one_bin():
    """Ten answers, each 80 % sure, six of them right: 0.2 off."""
    scores = np.tile([[0.8, 0.2]], (10, 1))
    assert calibration_error(scores, np.array([0] * 6 + [1] * 4)) == pytest.approx(0.2)


def test_calibration_error_weighs_bins_by_their_examples():
    """Three quarters at 90 %, all right (0.1 off); a quarter at 60 %, none right (0.6 off)."""
    scores = np.array([[0.9, 0.1]] * 3 + [[0.6, 0.4]])
    assert calibration_error(scores, np.array([0, 0, 0, 1])) == pytest.approx(0.75 * 0.1 + 0.25 * 0.6)


def test_the_scores_are_a_softmax_that_does_not_overflow():
    assert softmax(np.array([[1000.0, 999.0]]))[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))


def test_the_surest_wrong_answer_is_the_worst_and_right_ones_are_not_wrong():
    measure = ImageClassification().measure(index_of(["a", "b"]))
    wrong = measure.add({"label": np.array([0, 0, 1])}, {"logits": np.array([[0.0, 9.0], [0.0, 1.0], [0.0, 3.0]])})
    assert wrong[0] > wrong[1] > 0 > wrong[2]


@pytest.mark.parametrize(("metric", "reference", "value", "drop"), [
    (Metric(name="accuracy"), 0.9, 0.88, 0.02),
    (Metric(name="mae", better="lower"), 2.0, 2.5, 0.5),
    (Metric(name="perplexity", better="lower", relative=True), 20.0, 21.0, 0.05),
    (Metric(name="bleu", relative=True), 40.0, 38.0, 0.05),
    (Metric(name="accuracy"), 0.9, 0.92, -0.02)])
def test_a_drop_is_what_is_lost_whichever_way_is_better(metric, reference, value, drop):
    assert metric.drop(reference, value) == pytest.approx(drop)


def test_batches_are_asked_one_by_one_and_seen_with_what_the_network_gives():
    class Brightness:
        signatures = {}

        def predict(self, inputs, signature=""):
            mean = inputs["image"].mean(axis=(1, 2, 3))
            return {"logits": np.stack([mean, 100 - mean], axis=1)}

    images = np.array([0, 200, 90], "uint8")[:, None, None, None] * np.ones((1, 2, 2, 1), "uint8")
    batches = [({"image": images[:2]}, {"label": np.array([1, 0])}), ({"image": images[2:]}, {"label": np.array([0])})]
    seen = []
    result = ImageClassification().evaluate(Brightness(), batches, index_of(["a", "b"]),
                                            see=lambda inputs, targets, outputs,
                                            wrong: seen.append((len(wrong), outputs["logits"].shape)))
    assert result.metrics["accuracy"] == 1 and seen == [(2, (2, 2)), (1, (1, 2))]
