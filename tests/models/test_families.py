"""Mistral, Qwen, Gemma, DistilBERT and RoBERTa: their sizes, what their tokens see, and that they say the same token by
token and some tokens at a time."""
import keras
import numpy as np
import pytest

import models
from export.keras_models import bridge
from models.chunks import ChunkedDecoder
from models.decoding import CachedStack

SMALL = {"length": 10, "vocabulary": 50}
SETTINGS = {"depth": 2, "units": 16, "heads": 4}
#: Of Gemma 3 seven blocks: the sixth sees all tokens.
DECODERS = {"mistral": {"window": 4, "groups": 2}, "qwen2": {"groups": 2}, "qwen3": {"head_width": 6, "tied": False},
            "gemma": {"head_width": 6}, "gemma3": {"window": 3, "depth": 7}}
ENCODERS = ("distilbert", "roberta")


def built(name):
    """Return a small model whose weights are drawn anew, biases and factors among them."""
    classes = {"classes": 3} if name in ENCODERS else {}
    model = models.build(name, **SMALL, **classes, **{**SETTINGS, **DECODERS.get(name, {})})
    generator = np.random.default_rng(1)
    for weight in model.weights:
        around = 1 if weight.name in ("gamma", "scale") else 0
        weight.assign(around + 0.3 * generator.normal(size=weight.shape))
    return model


def tokens_of_texts():
    return np.random.default_rng(2).integers(1, 50, (3, 10)).astype("int32")


def logits(model, tokens):
    result = model(tokens, training=False)
    return np.asarray(result["logits"] if isinstance(result, dict) else result)


@pytest.mark.parametrize("name", [*DECODERS, *ENCODERS])
def test_the_closed_form_is_the_size_of_what_is_built(name):
    model = built(name)
    dimensions = {**SMALL, "classes": 3}
    size = models.builder(name).sized(dimensions, {**SETTINGS, **DECODERS.get(name, {})})
    assert (size.parameters, size.multiply_adds) == (model.count_params(), models.census.multiply_adds(model))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["distilbert_base", "roberta_base", "gemma3_270m", "qwen2_0_5b"])
def test_the_closed_form_is_the_size_of_the_papers_models(name):
    builder = models.builder(name)
    at = {**builder.at, "length": 64}
    with keras.StatelessScope(initialize_variables=False):
        assert builder.sized(at, {}).parameters == builder.build(at, {}).count_params()


@pytest.mark.parametrize("name", DECODERS)
def test_tokens_see_those_of_their_window_and_what_reaches_them_through_the_blocks(name):
    """Through each block a token hears of one window more; Gemma 3's sixth block sees all."""
    model, tokens = built(name), tokens_of_texts()
    changed = tokens.copy()
    changed[:, 1] = changed[:, 1] % 49 + 1
    heard = np.abs(logits(model, changed) - logits(model, tokens)).max(axis=(0, 2)) > 1e-6
    last = {"mistral": 1 + 2 * (4 - 1)}.get(name, 9)
    np.testing.assert_array_equal(heard, [1 <= place <= last for place in range(10)])


def test_blocks_of_gemma3_alternate():
    model = built("gemma3")
    attentions = [model.get_layer(f"block_{number}_attention") for number in range(7)]
    assert [one.window for one in attentions] == [3] * 5 + [None, 3]
    assert [one.rotary for one in attentions] == [10_000.0] * 5 + [1_000_000.0, 10_000.0]


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_says_the_same_some_tokens_at_a_time(name):
    model, tokens = built(name), tokens_of_texts()[:1]
    expected, decoder = logits(model, tokens), ChunkedDecoder(model)
    caches = [np.zeros((1, *decoder.cache), "float32")] * (2 * decoder.depth)
    for start, count in ((0, 4), (4, 5), (9, 1)):
        x, caches = decoder.read(tokens[:, start:start + count], np.int32(start), caches)
        np.testing.assert_allclose(decoder.logits(x), expected[:, start:start + count], atol=1e-4)


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_says_the_same_step_by_step_with_what_it_keeps(name):
    model, tokens = built(name), tokens_of_texts()
    stack, expected = CachedStack(model, "block", 10), logits(model, tokens)
    table = np.asarray(model.get_layer("embedding").embeddings) * (4 if name.startswith("gemma") else 1)
    states = stack.begin(3)
    for place in range(10):
        y, states = stack.step(table[tokens[:, place]][:, None].astype("float32"), states)
        np.testing.assert_allclose(ChunkedDecoder(model).logits(y)[:, 0], expected[:, place], atol=1e-4)


@pytest.mark.parametrize("name", ["qwen2", "gemma3"])
def test_the_bridge_keeps_a_decoder(name):
    model, tokens = built(name), tokens_of_texts()
    np.testing.assert_allclose(logits(bridge.to_tf_keras(model), tokens), logits(model, tokens), atol=1e-4)


@pytest.mark.parametrize("name", ENCODERS)
def test_padding_says_nothing_to_an_encoder(name):
    model, tokens = built(name), tokens_of_texts()
    tokens[:, 6:] = 0
    before = logits(model, tokens)
    table = model.get_layer("embedding").embeddings
    table.assign(np.concatenate([np.asarray(table)[:1] + 1, np.asarray(table)[1:]]))
    np.testing.assert_allclose(logits(model, tokens), before, atol=1e-4)


@pytest.mark.parametrize(("name", "settings", "reason"), [
    ("mistral", {"window": 0}, "model mistral: window"),
    ("gemma", {"groups": 3}, "4 heads do not divide among 3 groups"),
    ("gemma3", {"head_width": 5}, "gemma3: heads of 5 units have no halves to rotate"),
    ("qwen3_8b", {"head_width": 4}, "model qwen3_8b: head_width: Extra inputs"),
    ("roberta", {"units": 10}, "roberta: 10 units do not divide among 4 heads")])
def test_what_does_not_fit_is_refused(name, settings, reason):
    classes = {"classes": 3} if name in ENCODERS else {}
    own = {} if name == "qwen3_8b" else SETTINGS
    with pytest.raises(ValueError, match=reason):
        models.build(name, **SMALL, **classes, **{**own, **settings})
