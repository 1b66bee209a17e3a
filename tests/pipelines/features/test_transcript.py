"""Transcripts as numbers of characters."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.features.feature import Field, Learnt
from pipelines.features.transcript import BLANK_NAME, Transcript, ngrams, plain, repeats

TEXT = Field(kind="text")


def learnt_of(feature, *texts):
    return feature.learn(TEXT, [text.encode() for text in texts])


@pytest.mark.parametrize(("text", "expected"), [
    ("Hello, World!", "hello world"), ("  a\u0301\tB ", "\u00e1 b"), ("don\N{RIGHT SINGLE QUOTATION MARK}t", "don't"),
    ("42 – 7", "42 7"), ("?!…", ""), ("ПРИВЕТ", "привет"), ("\0\x07", "")])
def test_texts_are_made_plain(text, expected):
    assert plain(text) == expected


def test_characters_are_numbered_behind_the_blank():
    feature = Transcript(most=6)
    learnt = learnt_of(feature, "Ba b", "cab")
    assert learnt.names == [BLANK_NAME, " ", "a", "b", "c"]
    values = feature.load(tf.constant("A cb"), learnt).numpy()
    assert values.tolist() == [2, 1, 4, 3, 0, 0] and values.dtype == np.int32
    assert feature.in_words(values, learnt) == "a cb"
    assert feature.counts(values, learnt).tolist() == [0, 1, 1, 1, 1]


def test_an_alphabet_may_be_named():
    assert learnt_of(Transcript(alphabet="xyz"), "ab").names == [BLANK_NAME, " ", "x", "y", "z"]


@pytest.mark.parametrize(("text", "reason"), [
    ("", "has a transcript without a letter or a digit"), ("?", "has a transcript without a letter or a digit"),
    ("abcabcabc", "has a transcript of 9 characters; raise data.transcript.most, which is 8"),
    ("adé", "has the character 'd', which is in no training transcript")])
def test_what_cannot_be_learnt_has_a_reason(text, reason):
    feature = Transcript(most=8)
    assert feature.fault(text.encode(), learnt_of(feature, "abc")).startswith(reason)
    assert feature.fault(b"abc ab", learnt_of(feature, "abc")) is None
    assert feature.fault(b"any text", Learnt()) is None


def test_invalid_utf_8_is_read_with_marks_in_its_place():
    assert Transcript().fault(b"a\xffb", Learnt()) is None
    assert plain(b"a\xffb".decode(errors="replace")) == "a b"


def test_ngrams_are_counted():
    counts = ngrams(["aab"], 2)
    assert counts == {"a": 2, "b": 1, " ": 1, "^a": 1, "aa": 1, "ab": 1, "b ": 1}
    statistics = learnt_of(Transcript(ngram=2), "aab").statistics
    assert statistics["aa"] == [1.0] and len(statistics) == 7


@pytest.mark.parametrize(("text", "expected"), [("", 0), ("hello", 1), ("aaa b", 2)])
def test_repeated_characters_are_counted(text, expected):
    assert repeats(text) == expected


def test_is_drawn(axes):
    feature = Transcript(most=3)
    feature.draw(axes, np.array([2, 3, 0]), learnt_of(feature, "ab"))


def test_other_texts_count_among_n_grams(tmp_path):
    """Each of their sentences once, a training transcript ten times; what they have of other letters is left out."""
    path = tmp_path / "texts.txt"
    path.write_text("Ab! ab\n\nÉab. bbbb?")
    feature = Transcript(ngram=4, texts=str(path))
    learnt = learnt_of(feature, "ab")
    counts = {sequence: count for sequence, (count,) in learnt.statistics.items()}
    assert learnt.names == [BLANK_NAME, " ", "a", "b"]
    assert counts["a"] == 10 + 3 and counts["ab"] == 13 and counts["^ab"] == 13 and counts["^^ab"] == 13
    assert counts["bb"] == 3 and counts["bbb"] == 2 and counts["bbbb"] == 1 and counts[" "] == 10 + 4
    before = feature.fingerprint()
    path.write_text("b")
    assert feature.fingerprint() != before and Transcript(ngram=4).fingerprint() == ""


def test_texts_that_cannot_be_counted_are_refused(tmp_path):
    with pytest.raises(ValueError, match="ngram is 0"):
        Transcript(texts="a.txt")
    with pytest.raises(UserError, match=r"data.transcript.texts: .*none.txt is not there"):
        Transcript(ngram=2, texts=str(tmp_path / "none.txt")).fingerprint()
    (tmp_path / "odd.txt").write_bytes(b"ab\xff")
    with pytest.raises(UserError, match="is not UTF-8 at byte 2"):
        learnt_of(Transcript(ngram=2, texts=str(tmp_path / "odd.txt")), "ab")
