"""The builders of series: what they compute, against NumPy."""
import numpy as np
import pytest

import models
from models.series import Series

TWO = Series(window=12, means=(10.0, 100.0), deviations=(2.0, 5.0), horizon=4, targets=1)


def past(series=TWO, count=3, seed=0):
    drawn = np.random.default_rng(seed).normal(size=(count, series.window, len(series.means)))
    return (drawn * series.deviations + series.means).astype("float32")


def answered(model, **inputs):
    return np.asarray(model(inputs, training=False)["forecast"])


@pytest.mark.parametrize("level", ["none", "last", "mean"])
def test_dlinear_is_two_linear_maps(level):
    model = models.build("dlinear", series=TWO, kernel=3, level=level)
    for layer in ("seasonal", "trend"):
        weights = np.random.default_rng(1).normal(size=(12, 4)), np.arange(4.0)
        model.get_layer(layer).set_weights(weights)
    given = past()
    x = (given[..., 0] - 10) / 2
    taken = {"none": np.zeros(3), "last": x[:, -1], "mean": x.mean(axis=1)}[level][:, None]
    x = x - taken
    padded = np.pad(x, ((0, 0), (1, 1)), mode="edge")
    trend = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3
    kernel = np.random.default_rng(1).normal(size=(12, 4))
    expected = ((x - trend) @ kernel + trend @ kernel + 2 * np.arange(4) + taken) * 2 + 10
    assert answered(model, past=given)[..., 0] == pytest.approx(expected, rel=1e-4)


def test_a_missing_value_counts_as_the_mean():
    model = models.build("dlinear", series=TWO, kernel=1)
    given = past()
    given[0, 3, 0] = np.nan
    usual = given.copy()
    usual[0, 3, 0] = 10
    assert answered(model, past=given) == pytest.approx(answered(model, past=usual))


def test_what_is_known_ahead_is_added_step_by_step():
    series = Series(window=12, means=(0.0,), horizon=4, known_means=(1.0, 2.0), known_deviations=(2.0, 2.0))
    model = models.build("dlinear", series=series, kernel=1)
    for layer in ("seasonal", "trend"):
        model.get_layer(layer).set_weights([np.zeros((12, 4)), np.zeros(4)])
    model.get_layer("ahead").set_weights([np.array([[3.0], [5.0]])])
    known = np.random.default_rng(0).normal(size=(2, 16, 2)).astype("float32")
    expected = (known[:, 12:] - [1, 2]) / 2 @ [3.0, 5.0]
    result = answered(model, past=np.zeros((2, 12, 1), "float32"), known=known)
    assert result[..., 0] == pytest.approx(expected, abs=1e-5)


def test_quantiles_have_an_axis_of_their_own():
    series = Series(window=12, means=(0.0,) * 3, deviations=(1.0,) * 3, horizon=4, targets=2, quantiles=3)
    model = models.build("dlinear", series=series)
    assert model.output["forecast"].shape == (None, 4, 2, 3)


def test_a_moving_average_without_a_middle_is_refused():
    with pytest.raises(ValueError, match="4 steps has no middle; give an odd kernel"):
        models.build("dlinear", series=TWO, kernel=4)
