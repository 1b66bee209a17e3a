"""Numbers: alone, or in arrays."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines.features import Field, Learnt
from pipelines.features.number import Number

NUMBER, ARRAY = Field(kind="number"), Field(kind="array", shape=(3, 4))


@pytest.mark.parametrize(("field", "value", "shape"), [
    (NUMBER, np.float64(1.5), ()), (NUMBER, np.int64(3), ()), (NUMBER, np.bool_(True), ()),
    (ARRAY, np.arange(12).reshape(3, 4), (3, 4))])
def test_numbers_are_real_numbers_of_the_shape_of_their_field(field, value, shape):
    known = Number().learn(field, ())
    decoded = Number().decode(tf.constant(value), known)
    assert decoded.shape == shape == Number().tensor("age", known).shape and decoded.dtype == tf.float32
    np.testing.assert_array_equal(decoded, np.asarray(value, "float32"))
    np.testing.assert_array_equal(Number().prepare(decoded[None], known)[0], decoded)
    assert Number().encode(decoded.numpy()) is None and Number().counts(decoded.numpy(), known) is None


@pytest.mark.parametrize(("value", "readable"), [(1.0, True), (np.nan, False), ([1.0, np.inf], False), ([1, 2], True)])
def test_what_is_no_number_is_a_fault(value, readable):
    assert (Number().fault(np.array(value), Learnt()) is None) == readable


def test_numbers_are_said_and_their_mean_is_what_drifts():
    assert Number().in_words(np.float32(2.5), Learnt()) == "2.5" and Number().in_words(np.ones(3), Learnt()) == ""
    np.testing.assert_array_equal(Number().properties(np.array([[1.0, 3.0], [5.0, 5.0]]))["mean"], [2, 5])


@pytest.mark.parametrize("value", [np.float32(2.5), np.ones((1,)), np.arange(12.0).reshape(3, 4)])
def test_numbers_are_drawn(axes, value):
    Number().draw(axes, value, Learnt())
    if value.size == 1:
        assert axes.texts[0].get_text() == f"{float(value.ravel()[0]):g}"
    else:
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), value.ravel())


@pytest.mark.parametrize(("missing", "stands"), [("mean", 3.0), ("median", 2.0), (-1.0, -1.0)])
def test_a_missing_number_counts_as_what_the_setting_says(missing, stands):
    known = Number(missing=missing).learn(NUMBER, np.array([1.0, 2.0, np.nan, 6.0]))
    assert known.statistics["missing"] == [stands] == [Number(missing=missing).tensor("age", known).missing]
    assert known.statistics["mean"] == [3.0]
    assert known.statistics["deviation"] == [pytest.approx(np.std([1.0, 2.0, 6.0]))]
    assert Number(missing=missing).fault(np.float64("nan"), known) is None
    assert Number(missing=missing).fault(np.float64("inf"), known)


def test_a_column_without_any_number_or_of_one_value_still_scales():
    for values in (np.array([np.nan, np.nan]), np.array([4.0, 4.0]), np.array([0.1] * 10)):
        assert Number(missing="mean").learn(NUMBER, values).statistics["deviation"] == [1.0]
