"""The metrics of tables against scikit-learn."""
import numpy as np
import pytest
from sklearn import metrics

from pipelines.tasks.classes import softmax
from pipelines.tasks.tabular import classification, regression
from pipelines.tasks.tabular.classification import TableClassMeasure, auc
from pipelines.tasks.tabular.regression import RegressionMeasure
from pipelines.tasks.tabular.task import Tabular

GENERATOR = np.random.default_rng(0)


def measured(measure, output, values, truths):
    for some, true in zip(np.array_split(values, 3), np.array_split(truths, 3), strict=True):
        measure.add({"target": true}, {output: some})
    return measure


@pytest.mark.parametrize("classes", [2, 4])
def test_classification_is_measured_as_scikit_learn_does(classes):
    labels = GENERATOR.integers(0, classes, 300)
    logits = GENERATOR.normal(size=(300, classes))
    logits[np.arange(300), labels] += 1
    result = measured(TableClassMeasure([*"abcd"[:classes]], "target"), "logits", logits, labels).result()
    scores = softmax(logits)
    area = metrics.roc_auc_score(labels, scores[:, 1] if classes == 2 else scores, multi_class="ovr", average="macro")
    assert list(result.metrics) == [metric.name for metric in classification.METRICS]
    assert result.metrics["auc"] == pytest.approx(area, abs=1e-6)
    assert result.metrics["accuracy"] == pytest.approx(metrics.accuracy_score(labels, logits.argmax(1)), abs=1e-6)
    assert result.metrics["log_loss"] == pytest.approx(metrics.log_loss(labels, scores), abs=1e-6)
    assert [row[1] for row in result.tables[0].rows] == np.bincount(labels).tolist()


def test_an_area_without_two_classes_says_nothing():
    assert auc(np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([1, 1])) == 0.5
    assert auc(np.eye(3), np.array([0, 1, 1])) == (1 + 0.75) / 2, "the class that no example has is left out"


def test_regression_is_measured_as_scikit_learn_does(tmp_path):
    truths = GENERATOR.normal(50, 10, 200)
    values = truths + GENERATOR.normal(0, 3, 200)
    measure = measured(RegressionMeasure("target"), "value", values, truths)
    result = measure.result(tmp_path)
    assert list(result.metrics) == [metric.name for metric in regression.METRICS]
    assert result.metrics["rmse"] == pytest.approx(np.sqrt(np.mean((values - truths)**2)), abs=1e-6)
    assert result.metrics["mae"] == pytest.approx(metrics.mean_absolute_error(truths, values), abs=1e-6)
    assert result.metrics["r2"] == pytest.approx(metrics.r2_score(truths, values), abs=1e-6)
    assert (tmp_path / result.figures[0].file).stat().st_size > 1000
    wrong = measure.add({"target": np.array([1.0, 2.0])}, {"value": np.array([4.0, 2.0])})
    assert wrong.tolist() == [3, 0]


def test_a_drop_of_an_error_is_a_share_and_of_an_area_a_difference():
    assert Tabular(problem="regression").main.drop(50.0, 50.5) == pytest.approx(0.01)
    assert Tabular().main.drop(0.99, 0.985) == pytest.approx(0.005)
    assert Tabular().split == "stratified" and Tabular(problem="regression").split == "random"
