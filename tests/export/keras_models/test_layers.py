"""Every layer of Keras: docs/keras_layers.md says what comes of each, and that is so."""
import collections
import sys

import pytest

from tests.conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))  # behind the others: it has a serving.py too
import keras_layer_cases
import keras_layers

CASES = keras_layer_cases.cases()


def test_every_layer_has_a_case_and_every_case_a_row():
    assert keras_layer_cases.missing() == []
    titles = [case.title for case in CASES]
    assert [title for title, count in collections.Counter(titles).items() if count > 1] == []
    assert list(keras_layers.promised()) == titles


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.title for case in CASES])
def test_what_the_page_says_of_a_layer_is_so(number):
    outcome = keras_layers.outcome_of(number)
    works = [not value for value in outcome.model_dump().values()]
    assert works == [cell == "yes" for cell in keras_layers.promised()[CASES[number].title]], outcome
