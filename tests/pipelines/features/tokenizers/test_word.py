"""Words: what is one, what the vocabulary has, and the odd texts."""
import re
import unicodedata

import pytest
import tensorflow as tf

from pipelines.features.tokenizers import code_points
from pipelines.features.tokenizers.tokenizer import ENDS
from pipelines.features.tokenizers.whitespace import Whitespace
from pipelines.features.tokenizers.word import Word

SPECIAL = ("<PAD>", "<UNKNOWN>")


def words(text, **settings):
    content = text if isinstance(text, bytes) else text.encode()
    return [word.decode() for word in Word(**settings).words(tf.constant(content), 10_000).numpy()]


@pytest.mark.parametrize(("text", "expected"), [
    ("Good movie!", ["good", "movie", "!"]),
    ("don't", ["don", "'", "t"]),
    ("  two\tlines\n\u2003wide ", ["two", "lines", "wide"]),
    ("ÉCOLE straße İ", ["école", "straße", "İ"]),  # the small letter of İ is two characters, so it stays
    ("10,5 €", ["10", ",", "5", "€"]),
    ("我爱电影", ["我", "爱", "电", "影"]),
    ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
    ("👍🏽😀", ["👍", "🏽", "😀"]),
    ("e\u0301", ["e\u0301"]),
    ("a\x00b", ["a", "b"]),
    ("", []), (" \n ", [])])
def test_words_are_runs_of_letters_and_every_other_sign(text, expected):
    assert words(text) == expected


def test_bytes_that_are_not_utf8_stand_between_words():
    assert words(b"good\xffmovie\xe2\x82 \xed\xa0\x80x") == ["good", "movie", "x"]


def test_the_tables_are_pythons_unicode():
    """Against the standard library's own view, character by character, where words have one meaning in both."""
    unspaced = {*range(0x0E00, 0x10A0), *range(0x1780, 0x1800)}
    points = [point for point in range(0x2E80) if point not in unspaced]
    kinds = code_points.kinds(tf.constant(points)).numpy()
    lowered = code_points.lowered(tf.constant(points)).numpy()
    for point, kind, small in zip(points, kinds, lowered, strict=True):
        letter = re.match(r"[^\W_]", chr(point)) or unicodedata.category(chr(point))[0] == "M"
        assert (kind == code_points.PART) == bool(letter), hex(point)
        assert chr(small) in (chr(point), chr(point).lower())


def test_the_vocabulary_has_the_most_frequent_words_first():
    texts = [b"b b b a a", b"a b c", b"c d"]
    assert Word().learn(texts, SPECIAL).names == [*SPECIAL, "b", "a", "c"]
    assert Word(most=1).learn(texts, SPECIAL).names == [*SPECIAL, "b"]
    assert Word(min_count=1).learn(texts, SPECIAL).names == [*SPECIAL, "b", "a", "c", "d"]


def test_words_that_the_vocabulary_lacks_are_unknown():
    tokenizer = Word(min_count=1)
    learnt = tokenizer.learn([b"good film"], SPECIAL)
    assert learnt.names == [*SPECIAL, "film", "good"]
    for text, expected in (("film Film worse good", [2, 2, 1, 3]), ("<PAD>", [1, 1, 1]), ("ゾ ゾ", [1, 1]), ("", [])):
        assert tokenizer.tokens(tf.constant(text.encode()), learnt, 10).numpy().tolist() == expected


@pytest.mark.parametrize("special", [SPECIAL, (*SPECIAL, *ENDS)])
def test_special_tokens_that_are_written_in_a_text_are_words_that_are_not_known(special):
    tokenizer = Whitespace(min_count=1, lower=False)
    learnt = tokenizer.learn([b"<PAD> <UNKNOWN> <START> <END> film <PAD> <START>"], special)
    assert learnt.names == [*special, "film"]
    tokens = tokenizer.tokens(tf.constant(b"<PAD> <UNKNOWN> film <START> <END> <pad>"), learnt, 10).numpy().tolist()
    assert tokens == [1, 1, len(special), 1, 1, 1]
