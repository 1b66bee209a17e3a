"""Where tokens stand in a text: what is written there is what they are called."""
import unicodedata

import numpy as np
import pytest
import tensorflow as tf

from pipelines.features.tokenizers import code_points
from pipelines.features.tokenizers.byte_bpe import ByteBpe
from pipelines.features.tokenizers.character import Character
from pipelines.features.tokenizers.pretrained import Pretrained
from pipelines.features.tokenizers.regex import Regex
from pipelines.features.tokenizers.sentencepiece import Bpe, SentencePiece
from pipelines.features.tokenizers.spans import knows, spans
from pipelines.features.tokenizers.tokenizer import ENDS, SPECIAL, UNKNOWN
from pipelines.features.tokenizers.whitespace import Whitespace
from pipelines.features.tokenizers.word import Word
from pipelines.features.tokenizers.wordpiece import INSIDE, WordPiece
from tests.pipelines.features.tokenizers.odd_strings import odd, real
from tests.pipelines.features.tokenizers.test_byte_bpe import library

MARK = "\u2581"
OWN = (*SPECIAL, *ENDS)
WRITTEN = ["In the beginning", "  two  spaces ", "a\tb\n\n d", "naïve CAFÉ", "日本語 x", "(Ada), 1815–1852.",
           "☃ ☃☃ a☃ ☃a", "x☃☃y", "", " "]


def learnt_of(tokenizer):
    return tokenizer.learn([one.encode() for one in real(120)], OWN)


def spans_of(tokenizer, learnt):
    """Return the function from a text to its tokens, first characters and those behind, in a graph."""
    signature = tf.TensorSpec([], tf.string)
    traced = tf.function(lambda text: spans(tokenizer, text, learnt, 600), input_signature=[signature])
    return lambda text: [values.numpy().tolist() for values in traced(tf.constant(text.encode()))]


def lowered(text):
    """Return a text whose capitals are small letters, as many characters."""
    return code_points.string(code_points.lowered(code_points.of(tf.constant(text.encode()), len(text))).numpy())


@pytest.mark.parametrize("tokenizer", [
    Word(most=300), WordPiece(most=300), Bpe(most=300), *(pytest.param(one, marks=pytest.mark.slow) for one in (
        WordPiece(most=300, lower=False), SentencePiece(most=300), Character(), Whitespace(most=300)))],
    ids=lambda one: one.entry_name)
def test_what_stands_there_is_what_a_token_is_called(tokenizer):
    learnt = learnt_of(tokenizer)
    cut = spans_of(tokenizer, learnt)
    unknown = 0
    for text in [*WRITTEN, *real(5), *odd(30)]:
        tokens, starts, ends = cut(text)
        written, before = lowered(text) if tokenizer.lower else text, 0
        covered = np.zeros(len(text), bool)
        for token, first, last in zip(tokens, starts, ends, strict=True):
            assert before <= first <= last <= len(text)
            covered[first:last], before = True, max(before, last)
            if token == UNKNOWN:
                unknown += 1
                continue
            name = learnt.names[token]
            pieces = tokenizer.entry_name in ("bpe", "sentencepiece")
            expected = name.replace(MARK, "") if pieces else name
            expected = expected.removeprefix(INSIDE) if tokenizer.entry_name == "wordpiece" else expected
            assert written[first:last] == expected
        kinds = code_points.kinds(code_points.of(tf.constant(text.encode()), len(text))).numpy()
        inside = [kind != code_points.APART and letter != MARK for kind, letter in zip(kinds, text, strict=True)]
        assert tokenizer.entry_name == "whitespace" or covered[inside].all(), repr(text)
    assert unknown > 5


def test_bytes_stand_where_the_library_says():
    tokenizer = ByteBpe(most=500)
    learnt = learnt_of(tokenizer)
    one, cut = library(learnt), spans_of(tokenizer, learnt)
    for text in [*WRITTEN, *real(20), *odd(60)]:
        known = "".join(letter for letter in text if unicodedata.category(letter) != "Cn")
        tokens, starts, ends = cut(known)
        expected = one.encode(known)
        assert tokens == expected.ids and list(zip(starts, ends, strict=True)) == expected.offsets, repr(known)


def test_where_it_is_not_known_that_is_said():
    assert knows(Word()) and knows(ByteBpe()) and knows(Pretrained(of="one.yaml")) and not knows(Regex())
    assert knows(Pretrained(of="one.yaml", cut="wordpiece")) and not knows(Pretrained(of="one.yaml", cut="regex"))
