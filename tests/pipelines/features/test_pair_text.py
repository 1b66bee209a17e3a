"""Pairs of texts: one vocabulary, two rows of tokens."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.features.pair_text import ContinuedText, PairText, SecondText
from pipelines.features.tokenizers.word import Word
from pipelines.ingest.sources.pairs import Pairs
from pipelines.ingest.sources.summaries import Summaries, summaries
from pipelines.recipe.recipe import Recipe

PAIR = b"A dog barks.\tA cat sleeps, and dreams."


@pytest.fixture(scope="module")
def first():
    return PairText(tokenizer=Word(min_count=1), length=8)


def test_both_texts_of_a_pair_are_cut_by_one_vocabulary(first):
    learnt = first.learn(Field(kind="text"), [PAIR])
    assert {"dog", "cat"} <= set(learnt.names)
    second, continued = (kind(length=6).beside({"tokens": first}) for kind in (SecondText, ContinuedText))
    assert (second.length, continued.length) == (8, 6)
    rows = [[learnt.names[token] for token in one.decode(tf.constant(PAIR), learnt).numpy() if token]
            for one in (first, second, continued)]
    assert rows == [["<START>", "a", "dog", "barks", ".", "<END>"],
                    ["<START>", "a", "cat", "sleeps", ",", "and", "dreams", "<END>"],
                    ["a", "cat", "sleeps", ",", "<END>"]]


def test_a_text_alone_is_both(first):
    learnt = first.learn(Field(kind="text"), [PAIR])
    second = SecondText(**dict(first))
    np.testing.assert_array_equal(*(one.decode(tf.constant("a cat"), learnt) for one in (first, second)))


@pytest.mark.parametrize(("value", "fault"), [
    (PAIR, None), (b"alone", "has one text alone, and not a pair"), (b"alone\t ", "has one text alone, and not a pair"),
    (b"\xff\ta", "is not UTF-8 (byte 0)")])
def test_what_is_no_pair_is_said(first, value, fault):
    learnt = first.learn(Field(kind="text"), [PAIR])
    assert (first.fault(value, learnt) or "").startswith(fault or "")
    assert (first.fault(value, learnt) is None) == (fault is None)


def test_two_columns_of_a_table_are_pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text('one,two,label\n"a\tb",c,yes\nd,e,no\n')
    source = Pairs(of={"csv": str(path)}, first="one", second="two")
    assert source.tables()["train"].columns["pair"].tolist() == [b"a b\tc", b"d\te"]
    assert list(source.fields()) == ["one", "two", "label", "pair"]
    with pytest.raises(UserError, match=r"pairs.csv has no column text; it has one, two, label"):
        Pairs(of={"csv": str(path)}).tables()
    with pytest.raises(UserError, match="digits has no rows"):
        Pairs(of="digits").tables()


def test_a_recipe_names_a_source_within_pairs():
    recipe = Recipe.model_validate({
        "name": "p", "task": "sentence_pair_classification", "model": {"builder": "bert_pair"},
        "data": {"source": {"pairs": {"of": {"csv": "p.csv"}, "second": "two"}}, "second": {"length": 32}}})
    written = recipe.written()["data"]
    assert written["source"]["pairs"]["of"]["csv"]["path"] == "p.csv" and written["second"]["length"] == 32
    assert Recipe.model_validate(recipe.written()).written() == recipe.written()


CODE = '''
def mean(values):
    """Return the mean of some values.

    It is the sum of all of them, divided by the number that there is of them.
    """

def other():
    """Short."""
'''


def test_summaries_are_first_lines_and_what_follows_them():
    assert list(summaries(CODE)) == [("Return the mean of some values.", "It is the sum of all of them, divided by the "
                                      "number that there is of them.")]
    table = Summaries(packages=("keras",)).tables()["train"]
    assert table.rows > 200 and len(set(table.columns["text"].tolist())) == table.rows
    with pytest.raises(UserError, match="document nothing"):
        Summaries(packages=("ruff",)).tables()
