"""Models played again: what is replaced is replaced, and everything a caller sees of the model stays."""
import keras
import numpy as np
import pytest

from export.keras_models import bridge, graph, rebuild


def two_and_two(inputs, outputs):
    keras.utils.set_random_seed(0)
    words, age = keras.Input((5,), dtype="int32", name="words"), keras.Input((2,), name="age")
    x = keras.layers.Concatenate()([keras.layers.Flatten()(keras.layers.Embedding(9, 3)(words)), age])
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(6, "relu", name="hidden")(x))
    logits, hours = keras.layers.Dense(4, name="logits")(x), keras.layers.Dense(1, name="hours")(x)
    return keras.Model({"dict": {"words": words, "age": age}, "list": [words, age]}[inputs],
                       {"dict": {"one": logits, "another": hours}, "list": [logits, hours], "bare": logits,
                        "list of one": [logits]}[outputs], name="given")


@pytest.mark.parametrize("outputs", ["dict", "list", "bare", "list of one"])
@pytest.mark.parametrize("inputs", ["dict", "list"])
def test_names_types_and_structure_are_kept(inputs, outputs):
    model = two_and_two(inputs, outputs)
    asked = []

    def without_dropout(operation):
        asked.append(operation.name)
        return (lambda x, **settings: x) if isinstance(operation, keras.layers.Dropout) else operation

    again = rebuild.rebuilt(model, without_dropout)
    assert again.name == "given" and len(asked) == len(set(asked))
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in again.layers)
    assert graph.signature_of(again) == graph.signature_of(model)
    assert type(again.input) is type(model.input) and type(again.output) is type(model.output)
    examples = {"words": np.arange(10).reshape(2, 5) % 9, "age": np.ones((2, 2), "float32")}
    value = examples if inputs == "dict" else list(examples.values())
    expected, answers = model(value, training=False), again(value, training=True)
    keras.tree.assert_same_structure(expected, answers)
    for one, two in zip(keras.tree.flatten(expected), keras.tree.flatten(answers), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_layer_that_occurs_twice_is_replaced_once():
    left, right, shared = keras.Input((4,), name="left"), keras.Input((4,), name="right"), keras.layers.Dense(3)
    model = keras.Model([left, right], keras.layers.Add()([shared(left), shared(right)]))
    again = rebuild.rebuilt(model, lambda one: rebuild.linear(one) if one is shared else one)
    assert len(again.weights) == 2


def test_a_sequential_model_becomes_a_functional_one():
    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3, "relu", name="dense")])
    again = rebuild.rebuilt(model, lambda one: rebuild.linear(one) if one.name == "dense" else one)
    kernel, bias = (np.asarray(weight) for weight in model.get_layer("dense").weights)
    np.testing.assert_allclose(again(np.ones((1, 4))), np.ones((1, 4)) @ kernel + bias, rtol=1e-6)


def test_a_subclassed_model_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(bridge.BridgeError, match=r"own \(Own\) is not a functional or Sequential model"):
        rebuild.rebuilt(Own(name="own"), lambda one: one)
