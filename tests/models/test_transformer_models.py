"""GPT, LLaMA and BERT: their sizes, that no token sees what it must not, and that files answer as the models do."""
import keras
import numpy as np
import pytest

import models
from export.conversion import convert
from export.keras_models import bridge, graph
from export.predictors import open_predictor
from export.signature import Signature, Tensor
from models.stepping import stepping

SMALL = {"length": 10, "vocabulary": 50}
CLASSES = {**SMALL, "classes": 3}
SETTINGS = {"depth": 2, "units": 16, "heads": 4}


def built(name, **settings):
    """Return a small model whose weights are drawn anew, biases and factors among them."""
    dimensions = CLASSES if name.startswith("bert") else SMALL
    model = models.build(name, **dimensions, **SETTINGS, **settings)
    generator = np.random.default_rng(1)
    for weight in model.weights:
        around = 1 if weight.name in ("gamma", "scale") else 0
        weight.assign(around + 0.3 * generator.normal(size=weight.shape))
    return model


def tokens_of_texts():
    tokens = np.random.default_rng(2).integers(1, 50, (4, 10)).astype("int32")
    tokens[1, 7:] = tokens[2, 1:] = 0
    return tokens


def logits(model, tokens):
    result = model(tokens, training=False)
    return np.asarray(result["logits"] if isinstance(result, dict) else result)


CASES = [("gpt", {}), ("gpt", {"tied": False, "hidden": 24}), ("llama", {}), ("llama", {"tied": True, "groups": 2}),
         ("llama", {"groups": 1, "hidden": 40, "rotary": 500.0}), ("bert", {}),
         ("bert", {"pooling": "mean", "hidden": 24}), ("bert_tagger", {})]
IDS = [f"{name}-{number}" for number, (name, _) in enumerate(CASES)]


@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
def test_the_closed_form_is_the_size_of_what_is_built(name, settings):
    model = built(name, **settings)
    dimensions = CLASSES if name.startswith("bert") else SMALL
    size = models.builder(name).sized(dimensions, {**SETTINGS, **settings})
    assert (size.parameters, size.multiply_adds) == (model.count_params(), models.census.multiply_adds(model))


@pytest.mark.parametrize("name", [
    "gpt", "llama", "bert", "bert_tagger",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("gpt2", "gpt2_medium", "bert_base", "bert_large"))])
def test_the_closed_form_is_the_size_of_the_papers_models(name):
    builder = models.builder(name)
    size = builder.sized(builder.at, {})
    with keras.StatelessScope(initialize_variables=False):
        model = builder.build(builder.at, {})
        assert (size.parameters, size.multiply_adds) == (model.count_params(), models.census.multiply_adds(model))


def test_gpt3_computes_what_its_paper_says():
    """Table D.1: 3.14e23 operations for 300 G tokens, six for each parameter that multiplies."""
    builder = models.builder("gpt3")
    size = builder.sized(builder.at, {})
    attention = 96 * 2 * 2048**2 * 12_288
    assert 6 * 300e9 * (size.multiply_adds - attention) / 2048 == pytest.approx(3.14e23, rel=0.005)


@pytest.mark.parametrize(("name", "settings"), CASES[:5], ids=IDS[:5])
def test_a_language_model_sees_no_token_before_its_time(name, settings):
    model, tokens = built(name, **settings), tokens_of_texts()
    before = logits(model, tokens)
    assert before.shape == (4, 10, 50)
    changed = tokens.copy()
    changed[:, 6] = (changed[:, 6] + 5) % 50
    after = logits(model, changed)
    np.testing.assert_allclose(after[:, :6], before[:, :6], atol=1e-5)
    assert (np.abs(after[:, 6:] - before[:, 6:]).max(axis=(1, 2)) > 1e-3).all()


@pytest.mark.parametrize(("name", "settings"), CASES[5:], ids=IDS[5:])
def test_padding_says_nothing_to_a_bert(name, settings):
    """What the vector of the padding is changes nothing where there are tokens."""
    model, tokens = built(name, **settings), tokens_of_texts()
    before = logits(model, tokens)
    table = model.get_layer("embedding").embeddings
    table.assign(np.concatenate([np.asarray(table)[:1] + 1, np.asarray(table)[1:]]))
    after = logits(model, tokens)
    there = tokens != 0 if name == "bert_tagger" else np.full(4, True)
    np.testing.assert_allclose(after[there], before[there], atol=1e-4)
    assert np.isfinite(logits(model, np.zeros((1, 10), "int32"))).all()


@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
def test_the_bridge_keeps_a_transformer(name, settings):
    model, tokens = built(name, **settings), tokens_of_texts()
    expected = logits(model, tokens)
    there = bridge.to_tf_keras(model)
    np.testing.assert_allclose(logits(there, tokens), expected, atol=1e-5)
    np.testing.assert_allclose(logits(bridge.to_keras(there), tokens), expected, atol=1e-5)


@pytest.mark.parametrize(("name", "settings"), [CASES[0], CASES[3], CASES[6]], ids=["gpt", "llama", "bert"])
def test_files_answer_as_the_model_does(name, settings, tmp_path):
    model, tokens = built(name, **settings), tokens_of_texts()
    expected = logits(model, tokens)
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(logits(keras.models.load_model(tmp_path / "m.keras"), tokens), expected)
    signature = Signature(inputs=(Tensor(name="tokens", dtype="int32", shape=(10,), role="tokens"),),
                          outputs=(Tensor(name="logits", dtype="float32", shape=expected.shape[1:], role="logits"),))
    convert.float_graph(model, lambda model: [graph.function(model, signature)], tmp_path / "graph")
    (tmp_path / "m.tflite").write_bytes(convert.convert(tmp_path / "graph", "float32"))
    answers = open_predictor(tmp_path / "m.tflite").predict({"tokens": tokens})["logits"]
    np.testing.assert_allclose(answers, expected, atol=1e-4)


@pytest.mark.parametrize(("name", "settings", "reason"), [
    ("gpt", {"units": 10, "heads": 4}, "gpt: 10 units do not divide among 4 heads; give a multiple of 4"),
    ("bert", {"units": 10, "heads": 4}, "bert: 10 units do not divide among 4 heads"),
    ("llama", {"heads": 4, "groups": 3}, "llama: 4 heads do not divide among 3 groups; give a divisor of 4"),
    ("llama", {"units": 12, "heads": 4}, "heads of 3 units have no halves to rotate; give an even number"),
    ("llama", {"groups": 0}, "model llama: groups"), ("gpt2", {"units": 10}, "model gpt2: units: Extra inputs"),
    ("bert", {"pooling": "last"}, "model bert: pooling")])
def test_what_does_not_fit_is_refused(name, settings, reason):
    with pytest.raises(ValueError, match=reason):
        models.build(name, **(CLASSES if name == "bert" else SMALL), **settings)


def test_a_transformer_has_no_recurrent_steps():
    assert stepping(built("gpt")) is None and stepping(built("llama", tied=False)) is None
