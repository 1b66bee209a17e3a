"""What forecasts are held against: by hand, and against statsmodels asked step by step."""
import warnings

import numpy as np
import pytest
from statsmodels.tsa.exponential_smoothing import ets

from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.tasks.forecasting import Forecasting, baselines

ORIGINS = np.array([40, 47])


def test_the_naive_forecasts_repeat_the_last_value_and_the_last_season():
    values = np.arange(60.0)[:, None]
    assert baselines.seasonal_naive(values, ORIGINS, 3, 1)[..., 0].tolist() == [[39, 39, 39], [46, 46, 46]]
    assert baselines.seasonal_naive(values, ORIGINS, 5, 4)[..., 0].tolist() == [
        [36, 37, 38, 39, 36], [43, 44, 45, 46, 43]]


def test_smoothing_goes_on_with_the_parameters_of_what_was_known_first():
    steps = np.arange(60)
    values = 10 + 0.5 * steps + 3 * np.sin(2 * np.pi * steps / 4) + np.random.default_rng(1).normal(0, 0.3, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, settings, parameters = min((baselines._fitted(values[:40], *chosen) for chosen in baselines._choices(40, 4)),
                                      key=lambda one: one[0])
        expected = [np.asarray(ets.ETSModel(values[:origin], **settings).smooth(parameters).forecast(3))
                    for origin in ORIGINS]
    assert settings["trend"] == "add" and settings["seasonal"] == "add"
    assert baselines.smoothed(values, ORIGINS, 3, 4) == pytest.approx(np.array(expected))


def test_a_baseline_is_measured_at_the_origins_of_the_test_split():
    section = DataSection(source={"sunspots": {"window": 22, "horizon": 11}})
    task = Forecasting()
    data = Data(section, task, build_index(section, task, 0), 0)
    beside = baselines.measured(data)
    targets = np.concatenate([targets["future"] for _, targets in data.batches("test")])[..., 0]
    past = np.concatenate([inputs["past"] for inputs, _ in data.batches("test")])[..., 0]
    assert beside["seasonal_naive"]["mae"] == pytest.approx(np.abs(past[:, -11:] - targets).mean(), abs=1e-4)
    assert beside["naive"]["mae"] == pytest.approx(np.abs(past[:, -1:] - targets).mean(), abs=1e-4)
    assert set(beside) == set(Forecasting.baselines)
