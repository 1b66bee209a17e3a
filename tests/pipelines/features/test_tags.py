"""Tags beside the words of a text."""
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from pipelines.features.feature import Field
from pipelines.features.tags import Tags
from pipelines.features.text import Words

NAMES = ["O", "B-LOC", "I-LOC"]


@pytest.fixture(scope="module")
def learnt():
    return Tags().learn(Field(kind="text", names=["B-LOC", "I-LOC", "O"]), ())


def test_tags_are_numbered_with_those_of_nothing_first(learnt):
    assert learnt.names == NAMES
    assert Tags().learn(Field(kind="text"), [b"O B-PER", b"O"]).names == ["O", "B-PER"]


def test_tags_are_as_many_as_the_texts_tokens(learnt):
    feature = Tags().beside({"tokens": Words(length=5)})
    assert feature.length == 5
    assert feature.decode(tf.constant(b"O B-LOC I-LOC"), learnt).numpy().tolist() == [0, 1, 2, -1, -1]
    assert feature.decode(tf.constant(b"O " * 9), learnt).numpy().tolist() == [0] * 5
    assert feature.tensor("tags", learnt).shape == (5,)
    one_hot = feature.prepare(tf.constant([[0, 2, -1]]), learnt).numpy()
    assert one_hot.tolist() == [[[1, 0, 0], [0, 0, 1], [0, 0, 0]]]
    assert feature.counts(np.array([[0, 2, -1], [0, 0, 1]]), learnt).tolist() == [3, 1, 1]


def test_an_unknown_tag_is_a_fault(learnt):
    assert Tags().fault(b"O B-PER", learnt) == "has the tag B-PER, which is not one of O, B-LOC, I-LOC"
    assert Tags().fault(b"O", learnt) is None


def test_words_are_those_between_spaces():
    learnt = Words().learn(Field(kind="text"), ["Oslo, is\u00a0a\u00a0town ".encode() * 2])
    assert learnt.names == ["<PAD>", "<UNKNOWN>", "is\u00a0a\u00a0town", "oslo,"]
    with pytest.raises(ValidationError, match="must be whitespace"):
        Words(tokenizer="wordpiece")
