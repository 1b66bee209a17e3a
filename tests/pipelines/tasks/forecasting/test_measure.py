"""What forecasts are worth, against scikit-learn and closed forms."""
import numpy as np
import pytest
from sklearn import metrics

from pipelines.tasks.forecasting.measure import ForecastMeasure

DRAWN = np.random.default_rng(3)
TRUTH = DRAWN.normal(50, 10, (40, 5, 2))
POINT = TRUTH + DRAWN.normal(0, 3, TRUTH.shape)
SCALE = np.tile([2.0, 4.0], (40, 1))


def added(measure, outputs, batch=16):
    wrong = [measure.add({"future": TRUTH[start:start + batch], "scale": SCALE[start:start + batch]},
                         {"forecast": outputs[start:start + batch]}) for start in range(0, 40, batch)]
    return np.concatenate(wrong), measure.result()


def test_errors_are_scikit_learns():
    wrong, result = added(ForecastMeasure(), POINT)
    flat, answers = TRUTH.ravel(), POINT.ravel()
    assert result.metrics["mae"] == pytest.approx(metrics.mean_absolute_error(flat, answers), abs=1e-6)
    assert result.metrics["rmse"] == pytest.approx(metrics.root_mean_squared_error(flat, answers), abs=1e-6)
    by_variable = metrics.mean_absolute_error(TRUTH.reshape(-1, 2), POINT.reshape(-1, 2), multioutput="raw_values")
    assert result.metrics["mase"] == pytest.approx((by_variable / [2, 4]).mean(), abs=1e-6) == wrong.mean()
    halves = np.abs(flat - answers) / (np.abs(flat) + np.abs(answers)) * 2
    assert result.metrics["smape"] == pytest.approx(100 * halves.mean(), abs=1e-6)
    assert [row[0] for row in result.tables[0].rows] == ["1", "2", "3", "4", "5"]


def test_quantiles_are_measured_as_scikit_learn_does():
    levels = [0.1, 0.5, 0.9]
    answers = np.stack([POINT - 3, POINT, POINT + 3], axis=-1)
    _, result = added(ForecastMeasure(levels), answers)
    losses = [metrics.mean_pinball_loss(TRUTH.ravel(), answers[..., number].ravel(), alpha=level)
              for number, level in enumerate(levels)]
    assert result.metrics["pinball"] == pytest.approx(np.mean(losses), abs=1e-6)
    assert result.metrics["coverage"] == pytest.approx((np.abs(POINT - TRUTH) <= 3).mean(), abs=1e-6)
    assert result.metrics["mae"] == pytest.approx(np.abs(POINT - TRUTH).mean(), abs=1e-6)


def test_a_truth_of_zero_that_is_forecast_has_no_smape():
    measure = ForecastMeasure()
    measure.add({"future": np.zeros((1, 1, 1)), "scale": np.ones((1, 1))}, {"forecast": np.zeros((1, 1, 1))})
    assert measure.result().metrics["smape"] == 0
