"""Labels: classes by number and name."""
import numpy as np
import pytest
import tensorflow as tf

from export.signature import Tensor
from pipelines.features import Field, Learnt
from pipelines.features.label import Label

LABELS = Learnt(names=["ash", "birch", "cedar"])


def test_labels_learn_the_names_of_their_field():
    feature, field = Label(), Field(kind="class", names=LABELS.names)
    assert feature.learn(field, ()) == LABELS
    assert feature.tensor("label", LABELS) == Tensor(name="label", dtype="int64", shape=(),
                                                     meaning="the class, 0 to 2")
    assert int(feature.decode(tf.constant(2, tf.int32), LABELS)) == 2
    assert feature.encode(np.int64(2)) is None, "it goes as a number"


@pytest.mark.parametrize(("value", "reason"), [
    (0, None), (2, None), (3, "has the label 3, but there are 3 classes, 0 to 2"),
    (-1, "has the label -1, but there are 3 classes, 0 to 2")])
def test_a_label_outside_the_classes_is_a_fault(value, reason):
    assert Label().fault(value, LABELS) == reason


def test_labels_are_prepared_one_hot_counted_and_named(axes):
    values = np.array([2, 0, 2])
    np.testing.assert_array_equal(Label().prepare(tf.constant(values), LABELS), np.eye(3)[values])
    assert Label().counts(values, LABELS).tolist() == [1, 0, 2]
    assert Label().in_words(np.int64(1), LABELS) == Label().in_words(np.array([0.1, 0.8, 0.1]), LABELS) == "birch"
    Label().draw(axes, np.int64(1), LABELS)
    assert axes.texts[0].get_text() == "birch"
