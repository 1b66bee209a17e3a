"""Training with rounding, and pruning, of models that hear, read and forecast: what learns with rounding is the model,
what it learnt comes back, and zeros stay in recurrent layers."""
import keras
import numpy as np
import pytest
import tf_keras

import models
from export.compression import prune, qat
from models.series import Series

GENERATOR = np.random.default_rng(0)
WINDOWS = (5000 + GENERATOR.normal(size=(32, 16, 2)).cumsum(axis=1)).astype("float32")
SERIES = Series(window=16, means=(5000.0, 5000.0), deviations=(3.0, 3.0), horizon=4)
SOUNDS = (0.3 * GENERATOR.normal(size=(32, 4000))).astype("float32")
TOKENS = (GENERATOR.integers(1, 50, (32, 12)) * (np.arange(12) < GENERATOR.integers(3, 13, (32, 1)))).astype("int32")
HEARD = {"samples": 4000, "rate": 8000, "classes": 3, "front": {"hop": 0.04, "mels": 16}}
#: Builder, its settings, what it is given, and whether its files take that as real numbers.
MODELS = {
    "ds_cnn_audio": ({**HEARD, "filters": 8, "blocks_after": 1}, SOUNDS, True),
    "crnn": ({**HEARD, "filters": 4, "cell": "lstm", "units": (6,)}, SOUNDS, True),
    "series_lstm": ({"series": SERIES, "units": (6,)}, WINDOWS, True),
    "dlinear": ({"series": SERIES, "kernel": 5}, WINDOWS, True),
    "text_lstm": ({"length": 12, "vocabulary": 50, "classes": 2, "embedding": 8, "units": (6,)}, TOKENS, False)}


def answers(model, given):
    outputs = model(given, training=False)
    return np.asarray(next(iter(outputs.values())) if isinstance(outputs, dict) else outputs)


@pytest.mark.parametrize("name", ["ds_cnn_audio", "text_lstm", *(
    pytest.param(name, marks=pytest.mark.slow) for name in ("crnn", "series_lstm", "dlinear"))])
def test_it_answers_nearly_as_the_model_before_and_after_it_has_learnt(name):
    settings, given, real = MODELS[name]
    keras.utils.set_random_seed(1)
    model = models.build(name, **settings)
    before = answers(model, given)
    kept = [np.array(weight) for weight in model.trainable_weights]
    aware = qat.prepare(model, qat.recurrent(model), real_ends=real)
    for _ in range(3):
        aware(given, training=True)  # ranges begin somewhere
    aware.compile(tf_keras.optimizers.Adam(0.03), "mse")
    aware.fit(given, before + 2, batch_size=8, epochs=6, verbose=0)
    qat.taken_over(model, aware)
    changed = [np.abs(np.array(weight) - old).max() > 0
               for weight, old in zip(model.trainable_weights, kept, strict=True)]
    assert all(changed), [weight.path for weight, new in zip(model.trainable_weights, changed, strict=True) if not new]
    # of forecasts the level is no part of what is rounded
    scale = np.abs(answers(model, given) - (5000 if given is WINDOWS else 0)).max()
    assert np.abs(answers(model, given) - answers(aware, given)).mean() < 0.05 * scale


@pytest.mark.slow
def test_without_real_ends_what_is_heard_is_lost():
    settings, given, _ = MODELS["ds_cnn_audio"]
    keras.utils.set_random_seed(1)
    model = models.build("ds_cnn_audio", **settings)
    quiet = given / 300
    errors = []
    for real in (True, False):
        aware = qat.prepare(model, real_ends=real)
        for sounds in (given, quiet) * 3:
            aware(sounds, training=True)
        qat.taken_over(model, aware)  # with the statistics that normalizations have seen
        errors.append(np.abs(answers(model, quiet) - answers(aware, quiet)).mean())
    assert errors[0] < 0.2 * errors[1]


def test_recurrent_layers_inside_inner_models_and_in_two_directions_come_back():
    layers = keras.layers
    keras.utils.set_random_seed(1)
    given = keras.Input((6, 4), name="steps")
    both = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both")(given)
    inner = keras.Model(given, layers.Dense(4, activation="relu", name="inside")(both), name="inner")
    inputs = keras.Input((6, 4), name="x")
    attended = layers.MultiHeadAttention(2, 3, name="attends")
    x = inner(inputs)
    x = layers.GRU(4, name="last")(attended(x, x))
    model = keras.Model(inputs, layers.Dense(2, name="behind")(x))
    assert qat.recurrent(model) == ["both", "last"]
    aware = qat.prepare(model, qat.recurrent(model))
    values = np.random.default_rng(0).normal(size=(64, 6, 4)).astype("float32")
    aware.compile(tf_keras.optimizers.Adam(0.01), "mse")
    aware.fit(values, np.ones((64, 2), "float32"), epochs=3, verbose=0)
    before = [np.array(weight) for weight in model.trainable_weights]
    qat.taken_over(model, aware)
    same = [weight.path for weight, old in zip(model.trainable_weights, before, strict=True)
            if not np.abs(np.array(weight) - old).max()]
    assert not same
    assert np.abs(answers(model, values) - answers(aware, values)).mean() < 0.05


def test_a_layer_that_is_not_found_is_named():
    layers = keras.layers
    inputs = keras.Input((6, 4), name="x")
    learnt = keras.Model(inputs, layers.Dense(2, name="other")(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="missing")(inputs))
    with pytest.raises(ValueError, match=r"layer missing .* has no counterpart"):
        qat.taken_over(model, qat.prepare(learnt))


def test_recurrent_kernels_are_pruned_as_others_are():
    layers = keras.layers
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6, 8), name="x")
    x = layers.Conv1D(12, 3, padding="same", name="before")(inputs)
    x = layers.GRU(10, name="second")(layers.LSTM(12, return_sequences=True, name="first")(x))
    model = keras.Model(inputs, layers.Dense(3, name="behind")(x))
    sparse = prune.prepare(model, 0.75, steps=24, keep_dense=["behind"])
    values = np.random.default_rng(0).normal(size=(64, 6, 8)).astype("float32")
    sparse.compile(tf_keras.optimizers.Adam(1e-3), "mse")
    sparse.fit(values, np.ones((64, 3), "float32"), batch_size=8, epochs=3, verbose=0, callbacks=prune.callbacks())
    prune.take_over(model, sparse)
    for layer in (model.get_layer("first"), model.get_layer("second")):
        for kernel in (layer.cell.kernel, layer.cell.recurrent_kernel):
            assert (np.asarray(kernel) == 0).mean() == pytest.approx(0.75, abs=0.01), kernel.path
    assert (np.asarray(model.get_layer("before").kernel) == 0).mean() == pytest.approx(0.75, abs=0.01)
    assert 0.7 < prune.sparsity(model) < 0.75, "one layer keeps its weights"
