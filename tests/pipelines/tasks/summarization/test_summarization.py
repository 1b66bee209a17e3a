"""Summarization: ROUGE against hand computations, what is beside, and where texts with summaries are."""
import numpy as np
import pytest

import models
from pipelines.errors import UserError
from pipelines.ingest.sources.docstrings import Docstrings, pairs_of
from pipelines.recipe.recipe import Recipe
from pipelines.tasks.summarization.measure import Summaries, metrics, scores
from pipelines.tasks.summarization.task import first_sentence, first_words


def test_rouge_is_as_by_hand():
    # two of three words, of two; one of two pairs, of one; a sequence of two
    assert scores("the cat sat", "The cat!") == {"rouge_1": pytest.approx(80), "rouge_2": pytest.approx(200 / 3),
                                                 "rouge_l": pytest.approx(80)}
    # "b a" and "a b" have both words, no pair, and a sequence of one
    assert scores("b a", "a b") == {"rouge_1": 100, "rouge_2": 0, "rouge_l": 50}
    assert metrics(["b a", "x"], ["a b", "y"]) == {"rouge_1": 50, "rouge_2": 0, "rouge_l": 25}


def test_a_batch_tells_how_wrong_each_summary_is():
    words = ["", "a", "b", "c"]
    measure = Summaries("next", "answer", lambda tokens: " ".join(words[token] for token in tokens if token))
    wrong = measure.add({"next": np.array([[1, 2], [3, 0]])}, {"answer": np.array([[1, 2], [1, 0]])})
    np.testing.assert_allclose(wrong, [0, 1])
    assert measure.result().metrics == {"rouge_1": 50, "rouge_2": 50, "rouge_l": 50}


def test_the_beginnings_of_texts_are_beside():
    assert first_sentence("Adds v1.2 of it. Then stops.") == "Adds v1.2 of it."
    assert first_sentence("One\n\ntwo") == "One" and first_sentence("No end") == "No end"
    assert list(first_words(["a b c d", "a"], 3)) == ["a b c", "a"]


CODE = '''
def mean(x):
    """Return the mean of numbers.

    It is their sum over their count, and of none it is not a number, which is what the norm says.

    Parameters
    ----------
    x : array
    """

class Short:
    """Only a line."""
'''


def test_docstrings_have_a_summary_and_a_description_without_its_sections():
    (summary, description), = pairs_of(CODE)
    assert summary == "Return the mean of numbers."
    assert description == ("It is their sum over their count, and of none it is not a number, which is what the norm "
                           "says.")


def test_installed_packages_have_docstrings():
    table = Docstrings(packages=("keras",), longest=120).tables()["train"]
    assert table.rows > 100 and max(len(text.decode()) for text in table.columns["source"]) <= 120
    with pytest.raises(UserError, match="nowhere is not an installed package"):
        Docstrings(packages=("nowhere",)).tables()


def test_it_is_translated_as_a_recipe_says():
    one = Recipe.model_validate({"name": "short", "task": "summarization", "data": {"source": "docstrings"},
                                 "model": {"builder": "t5_summarizer", "depth": 1}})
    assert one.task.main.name == "rouge_l" and one.monitored(None).name == "val_bits_per_token"
    assert models.builder("t5_summarizer").family == "t5"
    with pytest.raises(ValueError, match="t5 is a builder for translation"):
        Recipe.model_validate({"name": "short", "task": "summarization", "data": {"source": "docstrings"},
                               "model": {"builder": "t5"}})
