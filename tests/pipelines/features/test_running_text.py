"""What is read and what follows: the same tokens, one apart."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines.features.feature import Field
from pipelines.features.running_text import NextTokens, RunningText
from pipelines.features.tokenizers.tokenizer import END, PADDING, START
from pipelines.features.translated_text import SourceText, TargetText

TEXTS = [b"abcabc", "añ b".encode()]


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_what_follows_is_the_text_and_what_is_read_is_one_behind(text, ends):
    read = RunningText(length=8, ends=ends)
    learnt = read.learn(Field(kind="text"), TEXTS)
    follows = NextTokens().beside({"tokens": read, "next": NextTokens()})
    assert isinstance(follows, NextTokens)
    tokens, after = (one.decode(tf.constant(text), learnt).numpy() for one in (read, follows))
    count = len(text.decode()) + ends
    assert (after != PADDING).sum() == (tokens != PADDING).sum() == count and tokens[0] == START
    np.testing.assert_array_equal(tokens[1:count], after[:count - 1])
    assert read.in_words(after, learnt) == text.decode() and (after[count - 1] == END) == ends


def test_padding_is_no_class():
    read = NextTokens(length=4)
    learnt = read.learn(Field(kind="text"), TEXTS)
    prepared = read.prepare(read.decode(tf.constant(b"ab"), learnt)[None], learnt).numpy()
    assert prepared.shape == (1, 4, len(learnt.names)) and prepared.sum(axis=-1).tolist() == [[1, 1, 0, 0]]


@pytest.mark.parametrize(("feature", "value", "said"), [
    (RunningText(length=3), b"abcd", "has 4 characters, and data.tokens.length is 3"),
    (RunningText(length=3), b"", "has no text"), (RunningText(length=3), b"a\xff", r"is not UTF-8"),
    (RunningText(length=3), b"\n", None), (RunningText(length=3), b"abc", None),
    (RunningText(length=3, ends=True), b"abc", "has 3 characters"), (TargetText(length=3), b"ab", None),
    (TargetText(length=3), b"abc", "data.previous.length is 3"), (SourceText(length=3), b"abc", None),
    (SourceText(length=3), b"abcd", "data.tokens.length is 3"), (SourceText(length=3), b" ", "has no text")])
def test_texts_that_do_not_fit_are_named(feature, value, said):
    fault = feature.fault(value, feature.learn(Field(kind="text"), ()))
    assert fault is None if said is None else said in fault


@pytest.mark.parametrize(("text", "tokens"), [
    (b"", [0, 0, 0, 0]), ("ゾゾ".encode(), [2, 1, 0, 0]), (b"\xff", [2, 0, 0, 0]), (b"ab" * 5_000_000, [2, 4, 5, 4])])
def test_odd_texts_are_read_too(text, tokens):
    """Nothing, what is unknown alone, bytes that are not UTF-8, and 10 MB."""
    read = RunningText(length=4)
    learnt = read.learn(Field(kind="text"), [b"ab"])
    assert read.decode(tf.constant(text), learnt).numpy().tolist() == tokens
