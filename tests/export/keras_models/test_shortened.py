"""Models of texts for shorter ones: the same answers, by the same weights."""
import keras
import numpy as np
import pytest

import models
from export.keras_models.shortened import shortened

LENGTH, SHORT = 24, 9


@pytest.mark.parametrize(("name", "settings"), [
    ("bert", {"classes": 3, "pooling": "mean"}), ("distilbert", {"classes": 2}),
    pytest.param("bert", {"classes": 3}, marks=pytest.mark.slow),
    pytest.param("roberta", {"classes": 2}, marks=pytest.mark.slow),
    pytest.param("bert_embedder", {}, marks=pytest.mark.slow)])
def test_a_short_text_has_the_same_answer_without_its_padding(name, settings):
    """As many units as tokens: what is reshaped says nothing of which of them is meant."""
    model = models.build(name, length=LENGTH, vocabulary=40, depth=1, units=LENGTH, heads=2, **settings)
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + 0.2 * generator.normal(size=weight.shape))
    tokens = np.zeros((6, LENGTH), "int32")
    for row, size in enumerate((1, 2, 5, 8, SHORT, SHORT)):
        tokens[row, :size] = generator.integers(1, 40, size)
    shorter = shortened(model, SHORT)
    (expected,), (answers,) = (keras.tree.flatten(one(given)) for one, given in (
        (model, tokens), (shorter, tokens[:, :SHORT])))
    assert shorter.input.shape == (None, SHORT) and np.ptp(expected, axis=0).max() > 0.1
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    assert {id(weight) for weight in shorter.weights} == {id(weight) for weight in model.weights}


@pytest.mark.parametrize("length", [0, LENGTH, LENGTH + 1])
def test_other_lengths_are_refused(length):
    model = models.build("bert", length=LENGTH, vocabulary=9, classes=2, depth=1, units=8, heads=2)
    with pytest.raises(ValueError, match=f"takes 24 tokens; it can be shortened to 1 to 23, not to {length}"):
        shortened(model, length)


def test_a_model_that_needs_all_tokens_is_refused():
    tokens = keras.Input((LENGTH,), dtype="int32")
    vectors = keras.layers.Embedding(9, 4)(tokens)
    model = keras.Model(tokens, keras.layers.Dense(2, name="all")(keras.layers.Flatten()(vectors)), name="flat")
    with pytest.raises(ValueError, match=r"flat cannot be shortened to 9 tokens: .*all"):
        shortened(model, SHORT)
    second = keras.Input((LENGTH,), dtype="int32")
    both = keras.Model([tokens, second], keras.layers.Add()([tokens, second]), name="both")
    with pytest.raises(ValueError, match="both takes something else than the tokens of one text"):
        shortened(both, SHORT)
