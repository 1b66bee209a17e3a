"""English prose: what is left out so that another recipe can be tuned honestly, and what of documentation is prose."""
import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.ingest.indexing import build_index
from pipelines.ingest.sources import vader
from pipelines.ingest.sources.prose import Prose, documented, held_out, paragraphs_of
from pipelines.recipe import file as recipe_file
from tests.conftest import ROOT


def test_what_another_recipe_tests_with_is_left_out():
    """By the index that the recipe of sentiment makes of its data."""
    recipe = recipe_file.read(ROOT / "recipes/text/sentiment_lstm.yaml", ["data.tokens.tokenizer={word: {most: 10}}"])
    index = build_index(recipe.data, recipe.task, recipe.seed)
    column = recipe.data.source.tables()["train"].columns["document"]
    expected = {name for part in ("validation", "test") for name in column[index.splits[part].positions]}
    documents, ratings, _ = vader._rows()
    assert held_out(documents, ratings, recipe.data.source.clear, recipe.seed) == expected
    learnt = {document.name.encode() for document in Prose(packages=()).documents() if document.kind == "reviews"}
    assert not learnt & expected and learnt | expected == set(documents.tolist())


def test_all_reviews_are_taken_where_none_are_held_out():
    names = [one.name for one in Prose(packages=(), held_out=None).documents() if one.kind == "reviews"]
    assert len(names) == 18_513


def test_texts_are_stretches_of_documents_with_their_licences():
    table = Prose(packages=("keras",), window=120).tables()["train"]
    assert max(len(text.decode()) for text in table.columns["text"]) <= 120
    kinds, licences = (np.array([value.decode() for value in table.columns[name]]) for name in ("kind", "licence"))
    assert set(kinds) == {"scripture", "reviews", "messages", "documentation"}
    assert set(licences[kinds == "documentation"]) == {"Apache License 2.0"}
    texts = b" ".join(table.columns["text"][kinds == "documentation"])
    assert b"LayerNormalization" in texts or b"layer" in texts


PROSE = "Returns the mean of the values that are\nin the array, or an error where it is not one."


@pytest.mark.parametrize("text", ["x = 3\ny = 4", "| a | b |", "See https://example.org for all of the details of it.",
                                  ">>> the_function(of_the, array_and) is what it was to be.", "Too short to say it."])
def test_code_and_tables_are_no_prose(text):
    assert list(paragraphs_of(f"{text}\n\n{PROSE}")) == [" ".join(PROSE.split())]


def test_documentation_is_read_off_code():
    assert list(documented('"""One."""\nclass A:\n    """Two."""\n    def f(self):\n        """Three."""')) == [
        "One.", "Two.", "Three."]
    assert list(documented("def (")) == []


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(UserError, match="no_such_package is not installed; leave it out"):
        Prose(packages=("no_such_package",)).fingerprint()
