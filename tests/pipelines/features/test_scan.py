"""Scans: their values, their windows, and how they are brought to a size."""
import matplotlib.figure
import numpy as np
import pytest
import tensorflow as tf

from pipelines.features import Field, Learnt, scan
from pipelines.features.image import Window
from pipelines.features.scan import Scan

LEARNT = Learnt(statistics={"window": [-1000.0, 1000.0], "channels": [3.0]})


def test_values_of_16_bits_stay_what_they_are():
    values = np.random.default_rng(0).integers(-32_768, 32_768, (6, 8, 3)).astype("int16")
    result = Scan(size=(6, 8)).decode(tf.constant(values), LEARNT).numpy()
    assert result.dtype == "float32"
    np.testing.assert_array_equal(result, values)


def test_they_are_resized_or_padded_with_black():
    values = np.full((4, 4, 3), 500, "float32")
    resized = Scan(size=(8, 2)).decode(tf.constant(values), LEARNT)
    np.testing.assert_allclose(resized, np.full((8, 2, 3), 500), rtol=1e-6)
    padded = Scan(size=(6, 2), fit="pad").decode(tf.constant(values), LEARNT).numpy()
    assert padded.shape == (6, 2, 3) and (padded[1:5] == 500).all() and (padded[[0, 5]] == -1000).all()


def test_a_window_is_given_or_learnt():
    field = Field(kind="array", shape=(None, None, 5))
    given = Scan(window=Window(level=40, width=400)).learn(field, ())
    assert given.statistics == {"window": [-160.0, 240.0], "channels": [5.0]}
    values = [np.linspace(0, 1000, 10_001).reshape(1, -1, 1), np.zeros((1, 10, 1))]
    low, high = Scan().learn(field, values).statistics["window"]
    assert low == pytest.approx(4, abs=4) and high == pytest.approx(995, abs=2)
    assert Scan().learn(field, [np.full((4, 4, 1), 7)]).statistics["window"] == [7, 8], "of images of one value"
    tensor = Scan(size=(4, 4)).tensor("image", given)
    assert (tensor.dtype, tensor.shape, tensor.role) == ("float32", (4, 4, 5), "values")
    assert scan.windows({"image": given, "label": Learnt(names=["a"])}) == {"image": (-160.0, 240.0)}


def test_levels_are_0_in_black_and_255_in_white_and_lead_back():
    values = np.array([-1000.0, 0.0, 1000.0, 3000.0])
    levels = scan.to_levels(values, (-1000, 1000))
    np.testing.assert_allclose(levels, [0, 127.5, 255, 510])
    np.testing.assert_allclose(scan.from_levels(levels, (-1000, 1000)), values)


def test_values_that_are_no_numbers_are_refused():
    assert Scan().fault(np.zeros((2, 2, 1)), LEARNT) is None
    assert Scan().fault(np.array([[[np.nan]]]), LEARNT) == "has a value that is infinite or not a number (NaN)"


def test_the_slice_in_the_middle_is_drawn_as_the_window_shows_it():
    axes = matplotlib.figure.Figure().add_subplot()
    values = np.stack([np.zeros((4, 4)), np.full((4, 4), 700.0), np.zeros((4, 4))], -1)
    Scan(size=(4, 4)).draw(axes, values, LEARNT)
    (image,) = axes.images
    assert image.get_clim() == (-1000, 1000) and (np.asarray(image.get_array()) == 700).all()
