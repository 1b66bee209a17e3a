"""Outcomes: classes whose names are a column's values."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines.features import Field
from pipelines.features.outcome import Outcome

CASES = [(Field(kind="text", names=["bad", "good"]), [b"good", b"bad"], [1, 0]),
         (Field(kind="number", names=["1", "3", "10"]), [10, 1], [2, 0]),
         (Field(kind="number", names=["0", "1"]), [1.0, 0.0], [1, 0]),
         (Field(kind="class", names=["cat", "dog"]), [0, 1], [0, 1])]


@pytest.mark.parametrize(("field", "values", "classes"), CASES)
def test_classes_are_numbered_in_the_order_of_their_names(field, values, classes):
    known = Outcome().learn(field, ())
    for value, number in zip(values, classes, strict=True):
        raw = value if isinstance(value, bytes) else np.asarray(value)[()]
        assert Outcome().fault(raw, known) is None
        assert Outcome().class_of(raw, known) == number == int(Outcome().decode(tf.constant(value), known))


@pytest.mark.parametrize(("field", "value", "reason"), [
    (CASES[0][0], b"", "has no value of the target"), (CASES[1][0], np.float64("nan"), "has no value of the target"),
    (CASES[0][0], b"ugly", "has the class 'ugly', which is not one of bad, good"),
    (CASES[3][0], np.int64(2), "has the label 2")])
def test_what_has_no_class_is_a_fault(field, value, reason):
    assert Outcome().fault(value, Outcome().learn(field, ())).startswith(reason)
