"""The builders of series: what they compute, against NumPy."""
import keras
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


def test_recurrent_builders_have_keras_layers_and_a_dense_one():
    assert 4 * 64 * (1 + 64 + 1) + 65 == 16_961 and 3 * 64 * (1 + 64 + 2) + 65 == 12_929
    model = models.build("series_lstm", series=TWO, units=(8, 4))
    assert model.count_params() == 4 * 8 * (2 + 8 + 1) + 4 * 4 * (8 + 4 + 1) + 5 * TWO.horizon


@pytest.mark.parametrize(("window", "horizon", "blocks", "units", "depth", "expansion"), [
    (36, 18, 30, 512, 4, 32), (12, 4, 2, 16, 3, 5)])
def test_nbeats_has_the_papers_blocks(window, horizon, blocks, units, depth, expansion):
    layers = (window + 1) * units + (depth - 1) * units * (units + 1)
    past, future = (units * expansion + expansion * steps for steps in (window, horizon))
    expected = blocks * (layers + past + future) - past
    series = Series(window=window, horizon=horizon)
    model = models.build("nbeats", series=series, blocks=blocks, units=units, depth=depth, expansion=expansion)
    assert model.count_params() == expected


def test_each_block_of_nbeats_sees_what_the_ones_before_have_left():
    series = Series(window=6, horizon=2)
    model = models.build("nbeats", series=series, blocks=2, units=4, depth=1, expansion=3)
    kernel = {layer.name: layer.get_weights()[0] for layer in model.layers if layer.get_weights()}
    x = past(series)[..., 0]
    first = np.maximum(x @ kernel["block_0_hidden_0"], 0)
    left = x - first @ kernel["block_0_past_coefficients"] @ kernel["block_0_past"]
    second = np.maximum(left @ kernel["block_1_hidden_0"], 0)
    expected = sum(hidden @ kernel[f"block_{number}_future_coefficients"] @ kernel[f"block_{number}_future"]
                   for number, hidden in enumerate((first, second)))
    assert answered(model, past=past(series))[..., 0] == pytest.approx(expected, abs=1e-3)


def test_a_tcn_sees_as_far_back_as_its_dilations_reach():
    keras.utils.set_random_seed(0)
    series = Series(window=40, horizon=4)
    model = models.build("tcn", series=series, units=6, depth=3, kernel=3)
    given = past(series, count=1)
    reach = 1 + 2 * (3 - 1) * (2**3 - 1)
    usual = answered(model, past=given)
    for step, differs in ((40 - reach - 1, False), (40 - reach, True)):
        changed = given.copy()
        changed[0, step] += 100
        assert (abs(answered(model, past=changed) - usual).max() > 1e-6) == differs


def test_a_window_is_standardized_and_given_back():
    """What is 100 times as large and elsewhere is forecast as large and as far away."""
    series = Series(window=12, horizon=4)
    model = models.build("nbeats", series=series, blocks=1, units=8, level="standard")
    given = past(series, count=1)
    usual = answered(model, past=given)
    assert answered(model, past=100 * given + 7) == pytest.approx(100 * usual + 7, rel=1e-3)


@pytest.mark.parametrize("name", ["tcn", "series_lstm", "series_gru"])
def test_models_of_windows_may_tell_classes_apart(name):
    model = models.build(name, series=Series(window=12, means=(0.0,), classes=3))
    assert model.output["logits"].shape == (None, 3)


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
