"""Text as tokens of a fixed length, whatever it is: empty, endless, not UTF-8."""
import time

import numpy as np
import pytest
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.features.text import Text
from pipelines.features.tokenizers.character import Character
from pipelines.features.tokenizers.sentencepiece import Bpe, SentencePiece
from pipelines.features.tokenizers.whitespace import Whitespace
from pipelines.features.tokenizers.word import Word
from pipelines.features.tokenizers.wordpiece import WordPiece
from tests.pipelines.features.tokenizers.odd_strings import real

TEXTS = [b"a good film , a good day", b"a bad film", b"a day"]


@pytest.fixture(scope="module")
def learnt():
    return Text().learn(Field(kind="text"), TEXTS)


def decoded(text, learnt, **settings):
    return Text(**{"length": 8, **settings}).decode(tf.constant(text), learnt).numpy().tolist()


def test_the_vocabulary_is_of_words_that_occur_twice(learnt):
    assert learnt.names == ["<PAD>", "<UNKNOWN>", "a", "day", "film", "good"]


def test_texts_are_filled_up_and_cut_off(learnt):
    assert decoded(b"a good film", learnt) == [2, 5, 4, 0, 0, 0, 0, 0]
    assert decoded(b"day " * 20, learnt) == [3] * 8


def test_texts_may_have_ends():
    learnt = Text(ends=True).learn(Field(kind="text"), TEXTS)
    assert learnt.names[:5] == ["<PAD>", "<UNKNOWN>", "<START>", "<END>", "a"]
    assert decoded(b"a film", learnt, ends=True) == [2, 4, 6, 3, 0, 0, 0, 0]
    assert decoded(b"a " * 20, learnt, ends=True) == [2, *[4] * 6, 3]


@pytest.mark.parametrize(("text", "expected"), [
    (b"", []), (b" \n\t", []), (b"\xff\xfe\xfd", []), ("ゾ木 xyz".encode(), [1, 1, 1]), (b"film\xc3", [4]),
    (b"\x00", [])])
def test_odd_texts_have_tokens_too(learnt, text, expected):
    assert decoded(text, learnt) == expected + [0] * (8 - len(expected))


def test_ten_megabytes_of_text_take_no_longer_than_their_first_words(learnt):
    start = time.monotonic()
    assert decoded(b"good film " * 1_000_000, learnt) == [5, 4] * 4
    assert decoded(b" " * 10_000_000, learnt) == [0] * 8
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(("text", "reason"), [(b"", "has no text"), (b" \n", "has no text"),
                                              (b"good \xe9t\xe9", "is not UTF-8 (byte 5)")])
def test_training_texts_that_say_nothing_have_a_fault(learnt, text, reason):
    assert Text().fault(text, learnt) == reason
    assert Text().fault("été".encode(), learnt) is None


def test_the_field_is_called_text_unless_the_recipe_says_another():
    fields = {"text": Field(kind="text"), "review": Field(kind="text"), "age": Field(kind="number")}
    assert Text().check("tokens", fields).kind == "text"
    assert Text(field="review").field_name("tokens") == "review"
    with pytest.raises(UserError, match="the source's field age is number, and tokens is made of text or bytes"):
        Text(field="age").check("tokens", fields)


def test_tokens_in_words_and_their_properties(learnt):
    values = np.array([[2, 5, 4, 0], [1, 1, 1, 3]])
    assert Text().in_words(values[0], learnt) == "a good film"
    properties = Text().properties(values)
    assert properties["tokens"].tolist() == [3, 4] and properties["unknown"].tolist() == [0, 0.75]


@pytest.mark.parametrize("tokenizer", [Word(), Character(), Whitespace(), WordPiece(most=150), SentencePiece(most=150),
                                       Bpe(most=150)])
def test_a_graph_writes_the_text_of_tokens_as_python_does(tokenizer):
    feature = Text(tokenizer=tokenizer, ends=True)
    learnt = feature.learn(Field(kind="text"), [text.encode() for text in real(60)])
    tokens = np.random.default_rng(0).integers(0, len(learnt.names), (40, 9))
    tokens[0], tokens[1, :4] = 0, range(4)
    written = feature.texts(tf.constant(tokens, tf.int32), learnt).numpy()
    assert [text.decode() for text in written] == [feature.in_words(row, learnt) for row in tokens]
