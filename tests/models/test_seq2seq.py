"""Encoder, decoder and attention: one step at a time against the whole graph, and against NumPy."""
import numpy as np
import pytest

import models
from models.seq2seq import parts
from models.stepping import stepping

SMALL = {"length": 7, "vocabulary": 20, "target_length": 6, "target_vocabulary": 15}


@pytest.fixture(scope="module")
def texts():
    generator = np.random.default_rng(0)
    tokens, previous = generator.integers(4, 20, (3, 7)), generator.integers(4, 15, (3, 6))
    tokens[1, 4:] = 0
    return tokens.astype("int32"), previous.astype("int32")


def built(**settings):
    model = models.build("seq2seq", **SMALL, embedding=5, units=8, dropout=0.0, **settings)
    generator = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(generator.normal(size=weight.shape) * 0.5)
    return model


@pytest.mark.parametrize("attention", ["luong", "bahdanau"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_steps_are_the_whole_graph(texts, attention, cell):
    tokens, previous = texts
    model = built(attention=attention, cell=cell)
    whole = model({"tokens": tokens, "previous": previous}, training=False)
    two = parts(model)
    encoded = two.encode(tokens)
    states = {name: encoded.pop(name) for name in two.states}
    for place in range(6):
        answer = two.step(previous[:, place], **encoded, **states)
        states = {name: answer[name] for name in two.states}
        np.testing.assert_allclose(answer["logits"], whole["logits"][:, place], atol=1e-5)


def test_attention_is_luongs(texts):
    """Equations 5 to 8 of the paper: softmax of the general score, the context, tanh of both, in NumPy."""
    tokens, previous = texts
    model = built(attention="luong")
    two = parts(model)
    encoded = {name: np.asarray(value) for name, value in two.encode(tokens).items()}
    answer = two.step(previous[:, 0], **encoded)
    hidden, memory = np.asarray(answer["hidden"]), encoded["memory"]
    w = model.get_layer("keys").get_weights()[0]
    scores = np.einsum("bu,btm,mu->bt", hidden, memory, w)
    weights = np.where(tokens != 0, np.exp(scores), 0)
    context = np.einsum("bt,btm->bm", weights / weights.sum(axis=1, keepdims=True), memory)
    combined, logits = (model.get_layer(name).get_weights() for name in ("combined", "logits"))
    attended = np.tanh(np.concatenate([context, hidden], axis=1) @ combined[0] + combined[1])
    np.testing.assert_allclose(answer["logits"], attended @ logits[0] + logits[1], atol=1e-3)


def test_what_stands_behind_a_text_says_nothing(texts):
    tokens, previous = texts
    model, longer = built(), models.build("seq2seq", **{**SMALL, "length": 9}, embedding=5, units=8, dropout=0.0)
    longer.set_weights(model.get_weights())
    padded = np.pad(tokens, [(0, 0), (0, 2)])
    one, other = (each({"tokens": given, "previous": previous}, training=False)["logits"]
                  for each, given in ((model, tokens), (longer, padded)))
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("name", ["language_lstm", "language_gru", "language_rnn"])
def test_a_language_model_says_the_same_step_by_step(texts, name):
    tokens, _ = texts
    model = models.build(name, length=7, vocabulary=20, embedding=5, units=(8, 6))
    one = stepping(model)
    states = [np.zeros((3, size), "float32") for size in one.states]
    whole = np.asarray(model(tokens, training=False))
    for place in range(7):
        logits, states = one.call(tokens[:, place], states)
        np.testing.assert_allclose(logits, whole[:, place], atol=1e-5)


def test_other_models_have_no_steps():
    assert stepping(models.build("text_lstm", length=7, vocabulary=20, classes=2)) is None
