"""Attention, positions and blocks against NumPy computations of the papers' formulas."""
import timeit

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import positions, texts
from models.attention import HIDDEN, MASKED, attention_class, causal_mask, padding_mask
from models.transformer import Block, activation_class, feed_forward, multi_head_attention, stack

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.normal(size=shape).astype("float32")


def softmax(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def heads_of(x, number, count):
    width = x.shape[-1] // count
    return x[..., number * width:(number + 1) * width]


def attended(query, key, value, heads, groups, bias=0.0, scaled=True, turn=lambda x: x):
    """Return attention head by head, and text by text."""
    result = np.zeros_like(query)
    width = query.shape[-1] // heads
    for text in range(len(query)):
        for head in range(heads):
            group = head * groups // heads
            q, k = turn(heads_of(query[text], head, heads)), turn(heads_of(key[text], group, groups))
            full = np.broadcast_to(bias, (len(query), heads, len(q), len(k)))[text, head]
            weights = softmax(q @ k.T / (np.sqrt(width) if scaled else 1) + full)
            result[text, :, head * width:(head + 1) * width] = weights @ heads_of(value[text], group, groups)
    return result


def turned(x, base=10_000.0):
    """Return a head's queries, each pair of numbers as a complex number times e^(i p angle)."""
    half = x.shape[-1] // 2
    speeds = base ** (-np.arange(half) / half)
    pairs = (x[:, :half] + 1j * x[:, half:]) * np.exp(1j * np.arange(len(x))[:, None] * speeds)
    return np.concatenate([pairs.real, pairs.imag], axis=-1)


@pytest.mark.parametrize(("heads", "groups"), [(6, 6), (6, 3), (6, 2), (6, 1)])
@pytest.mark.parametrize("bias", ["none", "padding", "rows", "heads", "all"])
def test_attention_is_the_papers_with_groups_of_heads(heads, groups, bias):
    query, key, value = normal(3, 5, 24), normal(3, 7, 4 * groups), normal(3, 7, 4 * groups)
    shape = {"padding": (3, 1, 1, 7), "rows": (1, 1, 5, 7), "heads": (1, heads, 5, 7), "all": (3, heads, 5, 7)}
    added = normal(*shape[bias]) if bias != "none" else None
    result = attention_class()(heads, groups)(query, key, value, added)
    expected = attended(query, key, value, heads, groups, 0.0 if added is None else added)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_scores_are_not_scaled_where_not_asked_for():
    query, key, value = normal(2, 5, 12), normal(2, 5, 12), normal(2, 5, 12)
    result = attention_class()(3, scaled=False)(query, key, value)
    np.testing.assert_allclose(result, attended(query, key, value, 3, 3, scaled=False), atol=1e-5)


@pytest.mark.parametrize("groups", [4, 2])
def test_rotary_positions_are_rotations_in_the_complex_plane(groups):
    query, key, value = normal(2, 9, 32), normal(2, 9, 8 * groups), normal(2, 9, 8 * groups)
    result = attention_class()(4, groups, rotary=500.0)(query, key, value)
    expected = attended(query, key, value, 4, groups, turn=lambda x: turned(x, 500.0))
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_rotations_depend_on_the_distance_alone_and_may_be_of_any_position():
    one, other = normal(1, 8), normal(1, 8)

    def score(first, second):
        pairs = [positions.rotated(x, *positions.rotations(place, 8, 100.0)) for x, place in (
            (one, np.array([first])), (other, np.array([second])))]
        return float(np.sum(np.asarray(pairs[0]) * np.asarray(pairs[1])))

    assert score(3, 1) == pytest.approx(score(45, 43), abs=1e-5) != pytest.approx(score(3, 2), abs=1e-2)
    known = positions.rotated(one, *positions.rotations(np.array([45]), 8, 100.0))
    told_later = positions.rotated(one, *positions.rotations(keras.ops.convert_to_tensor([45]), 8, 100.0))
    np.testing.assert_allclose(told_later, known, atol=1e-5)


def test_sines_are_the_papers():
    table = positions.sines(20, 10)[0]
    for place in range(20):
        for pair in range(5):
            angle = place / 10_000 ** (2 * pair / 10)
            assert table[place, pair] == pytest.approx(np.sin(angle), abs=1e-6)
            assert table[place, 5 + pair] == pytest.approx(np.cos(angle), abs=1e-6)


def test_buckets_are_exact_for_small_distances_and_logarithmic_for_larger():
    one_way = positions.buckets(200, 200, 32, 128, both=False)
    assert one_way[150, 150 - np.arange(16)].tolist() == list(range(16))
    assert set(one_way[np.triu_indices(200)]) == {0} and (one_way[128 + np.arange(72), np.arange(72)] == 31).all()
    assert (np.diff(one_way[199, ::-1]) >= 0).all() and set(one_way[199]) == set(range(32))
    both = positions.buckets(200, 200, 32, 128, both=True)
    assert both[50, 50 - np.arange(8)].tolist() == list(range(8))
    assert both[50, 51 + np.arange(7)].tolist() == list(range(17, 24))
    assert (both.T[np.tril_indices(200, -1)] == both[np.tril_indices(200, -1)] + 16).all()


def test_no_token_sees_those_behind_it_nor_the_padding():
    assert causal_mask(3)[0, 0].tolist() == [[0, HIDDEN, HIDDEN], [0, 0, HIDDEN], [0, 0, 0]]
    assert np.asarray(padding_mask(np.array([[4, 7, 0]])))[:, 0, 0].tolist() == [[0, 0, MASKED]]
    query, key, value = normal(1, 6, 8), normal(1, 6, 8), normal(1, 6, 8)
    result = np.asarray(attention_class()(2, causal=True)(query, key, value))
    for place in range(6):
        alone = attended(query[:, place:place + 1], key[:, :place + 1], value[:, :place + 1], 2, 2)
        np.testing.assert_allclose(result[:, place:place + 1], alone, atol=1e-5)


@pytest.mark.timed
@pytest.mark.parametrize("bias", [None, np.zeros((1, 1, 1, 1), "float32"), "tensor"])
def test_a_causal_mask_takes_no_longer_in_a_graph(bias):
    """TensorFlow's remapper fuses a product and a constant that is added, and what it makes is far slower."""
    layer, x = attention_class()(2, causal=True), tf.constant(normal(2, 256, 32))

    def read(x):
        return layer(x, x, x, keras.ops.zeros((1, 1, 1, 1)) if isinstance(bias, str) else bias)

    def seconds(call):
        call(x)
        return min(timeit.repeat(lambda: call(x), number=1, repeat=5))

    graph = tf.function(read)
    np.testing.assert_allclose(graph(x), read(x), atol=1e-5)
    assert seconds(graph) < 10 * seconds(read)


def test_scores_that_are_not_scaled_are_masked_by_more():
    """A token with a score of -20 with itself and of 20 with the one behind it sees itself alone all the same."""
    query, key = np.array([[[20.0], [1.0]]], "float32"), np.array([[[-1.0], [1.0]]], "float32")
    value = np.array([[[0.0], [1.0]]], "float32")
    assert float(attention_class()(1, causal=True, scaled=False)(query, key, value)[0, 0, 0]) < 1e-20


def test_weights_are_dropped_in_training_alone():
    query, key, value = normal(2, 30, 8), normal(2, 30, 8), np.ones((2, 30, 8), "float32")
    layer = attention_class()(2, dropout=0.5)
    np.testing.assert_allclose(layer(query, key, value), value, atol=1e-5)
    in_training = np.asarray(layer(query, key, value, training=True))
    assert in_training.std() > 0.05 and in_training.mean() == pytest.approx(1, abs=0.2)


def functional(part, length=5, units=12):
    """Return a model of a part, with weights drawn anew, biases and factors among them."""
    inputs = keras.Input((length, units))
    model = keras.Model(inputs, part(inputs))
    for weight in model.weights:
        weight.assign(normal(*weight.shape))
    return model


def dense(model, name, x):
    return x @ model.get_layer(name).get_weights()[0] + model.get_layer(name).get_weights()[1]


def test_multi_head_attention_projects_attends_and_projects():
    block = Block(12, 6, 20, groups=2, head_width=4)
    model = functional(lambda x: multi_head_attention(x, block, "one"))
    x = normal(2, 5, 12)
    query, key, value = (dense(model, f"one_{part}", x) for part in ("query", "key", "value"))
    assert query.shape == (2, 5, 24) and key.shape == (2, 5, 8)
    expected = dense(model, "one_output", attended(query, key, value, 6, 2))
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-3)


ACTIVATIONS = {"relu": lambda x: np.maximum(x, 0), "silu": lambda x: x / (1 + np.exp(-x)),
               "gelu": lambda x: x * np.vectorize(normal_below)(x),
               "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))}


def normal_below(x):
    from math import erf

    return 0.5 * (1 + erf(x / 2**0.5))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_their_formulas(name):
    x = np.linspace(-4, 4, 41).astype("float32")
    np.testing.assert_allclose(activation_class()(name)(x), ACTIVATIONS[name](x), atol=1e-6)


@pytest.mark.parametrize("gated", [False, True])
def test_the_feed_forward_part_is_two_dense_layers_or_a_gated_one(gated):
    block = Block(12, 2, 20, gated=gated, activation="silu")
    model, x = functional(lambda x: feed_forward(x, block, "one")), normal(2, 5, 12)
    silu, wide = ACTIVATIONS["silu"], dense(model, "one_wide", x)
    inside = silu(dense(model, "one_gate", x)) * wide if gated else silu(wide)
    np.testing.assert_allclose(model(x), dense(model, "one_output", inside), rtol=1e-4, atol=1e-3)


def normalized(model, name, x, kind):
    weights = model.get_layer(name).get_weights()
    if kind == "rms":
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * weights[0]
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * weights[0] + weights[1]


@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize("first", [True, False])
def test_a_stack_normalizes_before_each_part_or_behind_each_sum(first, kind):
    block = Block(12, 3, 20, norm=kind, first=first, activation="relu")
    model, x = functional(lambda x: stack(x, block, 2, "b")), normal(2, 5, 12)

    def attention(y, name):
        query, key, value = (dense(model, f"{name}_{part}", y) for part in ("query", "key", "value"))
        return dense(model, f"{name}_output", attended(query, key, value, 3, 3))

    def fed(y, name):
        return dense(model, f"{name}_output", np.maximum(dense(model, f"{name}_wide", y), 0))

    expected = x
    for number in range(2):
        for part, name in ((attention, f"b_{number}_attention"), (fed, f"b_{number}_feed_forward")):
            if first:
                expected = expected + part(normalized(model, f"{name}_norm", expected, kind), name)
            else:
                expected = normalized(model, f"{name}_norm", expected + part(expected, name), kind)
    if first:
        expected = normalized(model, "b_norm", expected, kind)
    np.testing.assert_allclose(model(x), expected, rtol=1e-3, atol=1e-3)


def test_a_decoder_reads_a_memory_between_its_own_tokens_and_the_dense_layers():
    block = Block(12, 3, 20)
    inputs, memory = keras.Input((5, 12)), keras.Input((7, 12))
    bias = np.zeros((1, 1, 1, 7), "float32")
    bias[..., 4:] = MASKED
    model = keras.Model([inputs, memory], stack(inputs, block, 1, "b", causal=True, memory=memory, memory_bias=bias))
    names = [layer.name for layer in model.layers if type(layer).__name__ == "Attention"]
    assert names == ["b_0_attention", "b_0_memory"]
    x, read = normal(2, 5, 12), normal(2, 7, 12)
    before = np.asarray(model([x, read]))
    changed = read.copy()
    changed[:, 4:] += 1
    np.testing.assert_allclose(model([x, changed]), before, atol=1e-5)
    changed[:, 0] += 1
    assert np.abs(np.asarray(model([x, changed])) - before).max() > 1e-4
    x[:, 3:] += 1
    np.testing.assert_allclose(model([x, read])[:, :3], before[:, :3], atol=1e-5)


def test_learned_positions_and_distances_are_tables_without_copies_for_a_batch():
    tokens = texts.tokens_of(6)
    numbers = positions.buckets(6, 6, 8, 20, both=True)
    model = keras.Model(tokens, [positions.learned(tokens, 4), positions.relative(tokens, numbers, 8, 3, "distances")])
    places, bias = (np.asarray(value) for value in model(np.ones((5, 6), "int32")))
    np.testing.assert_array_equal(places, model.get_layer("positions").get_weights()[0])
    table = model.get_layer("distances").get_weights()[0]
    assert bias.shape == (1, 3, 6, 6)
    np.testing.assert_array_equal(bias[0, 2], table[numbers, 2])


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("biased", [False, True])
def test_sizes_are_those_of_what_is_built(gated, norm, biased):
    block = Block(12, 6, 20, groups=3, head_width=4, gated=gated, norm=norm, biased=biased, first=gated)
    inputs, memory = keras.Input((5, 12)), keras.Input((7, 12))
    model = keras.Model([inputs, memory], stack(inputs, block, 2, "b", memory=memory))
    from models.census import multiply_adds

    size = block.stack_size(2, 5, 7)
    assert (size.parameters, size.multiply_adds) == (model.count_params(), multiply_adds(model))
