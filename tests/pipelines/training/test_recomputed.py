"""Activations that are computed again: the same losses and weights, in less memory; and computing in 16 bits."""
import subprocess
import sys

import keras
import numpy as np
import pytest

import models
from pipelines.training.recomputation import recompute

LENGTH, VOCABULARY = 16, 40


def built(builder, **settings):
    return models.build(builder, length=LENGTH, vocabulary=VOCABULARY, **{
        "units": 32, "heads": 4, "depth": 2, "dropout": 0.0, **settings})


def rows(seed=0):
    tokens = np.random.default_rng(seed).integers(1, VOCABULARY, (8, LENGTH)).astype("int32")
    tokens[:3, 11:] = 0
    return tokens


def trained(model, steps=4):
    """Train a model on what follows in some rows; return its losses."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss={"logits": loss})
    tokens = rows()
    follows = np.pad(tokens[:, 1:], ((0, 0), (0, 1)))
    return [float(model.train_on_batch(tokens, {"logits": follows})) for _ in range(steps)]


@pytest.mark.parametrize(("builder", "settings"), [("gpt", {}), ("llama", {"groups": 2})])
def test_losses_and_weights_are_the_same(builder, settings):
    keras.utils.set_random_seed(7)
    plain, model = (built(builder, **settings) for _ in range(2))
    model.set_weights(plain.get_weights())
    parts = ("attention", "feed_forward_activation")
    assert sorted(recompute(model)) == sorted(f"block_{number}_{part}" for number in range(2) for part in parts)
    np.testing.assert_allclose(trained(model), trained(plain), rtol=1e-6)
    for one, other in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_layers_that_draw_random_numbers_are_left_out():
    names = recompute(built("gpt", dropout=0.2))
    assert names == ["block_0_feed_forward_activation", "block_1_feed_forward_activation"]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("builder", ["gpt", "llama"])
def test_decoders_learn_in_16_bits_and_ship_in_32(builder, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = built(builder)
    finally:
        keras.config.set_dtype_policy("float32")
    losses = trained(model, 8)
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert {weight.dtype for weight in model.weights} == {"float32"}
    shipped = built(builder)
    shipped.set_weights(model.get_weights())
    exact, rounded = (np.array(one(rows(1))["logits"], np.float32) for one in (shipped, model))
    assert shipped.get_layer("block_0_attention_query").compute_dtype == "float32" and np.isfinite(exact).all()
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()


MEMORY = """\
import resource, sys
import keras, numpy as np
import models
from pipelines.training.recomputation import recompute
model = models.build("llama", length=512, vocabulary=40, units=64, heads=8, depth=6, dropout=0.0)
if sys.argv[1] == "again": recompute(model)
model.compile("sgd", loss={"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)})
rows = np.ones((8, 512), "int32")
for _ in range(2): model.train_on_batch(rows, {"logits": rows})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
def test_less_memory_is_taken():
    taken = {}
    for how in ("kept", "again"):
        done = subprocess.run([sys.executable, "-c", MEMORY, how], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        taken[how] = float(done.stdout.split()[-1])
    # the weights of attention alone, of six blocks: 8 x 8 x 512 x 512 numbers of 4 bytes each, 64 MiB
    assert taken["kept"] - taken["again"] > 5 * 64 / 2, taken
