"""What scores are worth, against scikit-learn and by hand."""
import numpy as np
import pytest
from sklearn import metrics

from pipelines.tasks.anomaly_detection.measure import AnomalyMeasure, anomalies

LABELS = np.zeros(60, int)
LABELS[[10, 11, 12, 13, 30, 31]] = 1
SCORES = np.random.default_rng(0).uniform(0, 0.9, 60)
SCORES[[12, 13, 40]] = 1.5
OWNERS = np.ones(60, int)


def result(scores=SCORES, labels=LABELS, owners=OWNERS):
    measure = AnomalyMeasure()
    for start in range(0, len(scores), 25):
        part = slice(start, start + 25)
        measure.add({"label": labels[part], "owner": owners[part]}, {"score": scores[part]})
    return measure.result()


def test_the_figures_are_scikit_learns():
    known = result().metrics
    assert known["auc"] == pytest.approx(metrics.roc_auc_score(LABELS, SCORES), abs=1e-6)
    assert known["f1"] == pytest.approx(metrics.f1_score(LABELS, SCORES > 1), abs=1e-6)
    assert known["precision"] == pytest.approx(2 / 3, abs=1e-6) and known["recall"] == pytest.approx(2 / 6, abs=1e-6)


def test_the_delay_counts_from_the_begin_of_a_stretch_and_a_missed_one_as_a_whole():
    assert anomalies(LABELS > 0, SCORES > 1, OWNERS) == [(10, 4, 2), (30, 2, None)]
    known = result().metrics
    assert known["delay"] == 2 and known["found"] == 0.5
    assert result().tables[0].rows == [["window 10", 4, "2"], ["window 30", 2, "missed"]]


def test_a_stretch_ends_with_its_series():
    owners = np.repeat([5, 9], [12, 48])
    assert anomalies(LABELS > 0, SCORES > 1, owners) == [(10, 2, None), (12, 2, 0), (30, 2, None)]
    known = result(owners=owners)
    assert known.metrics["found"] == pytest.approx(1 / 3, abs=1e-6)
    assert known.metrics["delay"] == pytest.approx((2 + 0 + 2) / 3, abs=1e-6)
    assert "in 3 stretches" in known.limits[0]


def test_a_test_set_without_anomalies_has_no_auc():
    assert result(labels=np.zeros(60, int)).metrics["auc"] == 0.5


def test_how_wrong_a_window_is_is_above_0_on_the_wrong_side_of_the_threshold():
    wrong = AnomalyMeasure().add({"label": np.array([0, 0, 1, 1]), "owner": np.zeros(4)},
                                 {"score": np.array([0.4, 1.2, 0.3, 3.0])})
    assert wrong.tolist() == pytest.approx([-0.6, 0.2, 0.7, -2.0])
