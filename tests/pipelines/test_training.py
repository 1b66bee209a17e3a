"""The training loop: schedules by their formulas, exact resumption."""
import math
import os
import signal

import numpy as np
import pytest

from pipelines import workers
from pipelines.training import checkpoint
from pipelines.training.callbacks import Callback
from pipelines.training.losses import Loss
from pipelines.training.optimizers import Optimizer
from pipelines.training.schedules import Schedule


def rates(written, steps):
    built = Schedule.read(written).build(steps)
    return np.array([float(built(step)) for step in range(steps)])


def test_one_cycle_follows_its_formula():
    peak, warmup, steps = 0.01, 0.25, 200
    expected = []
    for step in range(steps):
        done = step / (steps - 1)
        if done < warmup:
            expected.append(peak * (0.04 + 0.96 * (1 - math.cos(math.pi * done / warmup)) / 2))
        else:
            expected.append(peak * (1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2))
    np.testing.assert_allclose(rates({"one_cycle": peak}, steps), expected, rtol=1e-4)
    assert max(expected) == pytest.approx(peak, rel=1e-3)


def test_cosine_warms_up_in_a_line_and_falls_to_its_floor():
    found = rates({"cosine": {"peak": 0.1, "warmup": 0.1, "floor": 0.2}}, 100)
    np.testing.assert_allclose(found[:10], 0.1 * np.arange(10) / 10, atol=1e-7)
    expected = [0.1 * (0.2 + 0.8 * (1 + math.cos(math.pi * step / 90)) / 2) for step in range(90)]
    np.testing.assert_allclose(found[10:], expected, rtol=1e-5)


def test_constant_is_a_number():
    assert Schedule.read({"constant": 0.3}).build(10) == 0.3


def test_adamw_leaves_biases_and_normalization_alone():
    import keras

    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(keras.layers.Dense(3)(inputs)))
    optimizer = Optimizer.read({"adamw": {"weight_decay": 0.5}}).build(0.1)
    optimizer.build(model.trainable_variables)
    before = [np.asarray(variable) + 1 for variable in model.trainable_variables]
    for variable, value in zip(model.trainable_variables, before, strict=True):
        variable.assign(value)
    optimizer.apply_gradients([(variable * 0, variable) for variable in model.trainable_variables])
    for variable, value in zip(model.trainable_variables, before, strict=True):
        decayed = value * (1 - 0.1 * 0.5) if variable.name == "kernel" else value
        np.testing.assert_allclose(np.asarray(variable), decayed, rtol=1e-6, err_msg=variable.path)


def test_cross_entropy_with_smoothed_labels_is_the_closed_form():
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]], "float32")
    targets = np.array([[1, 0, 0], [0, 0, 1]], "float32")
    smoothed = targets * 0.9 + 0.1 / 3
    log_scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -(smoothed * log_scores).sum(axis=1).mean()
    assert float(Loss.read({"cross_entropy": 0.1}).build()(targets, logits)) == pytest.approx(expected, rel=1e-6)


def train(folder, kill_after, out):
    """Trains a small model; kills its own process at the end of an epoch where told to."""
    import keras
    import tensorflow as tf

    from pipelines.ingest import stream
    from pipelines.ingest.augment import Augmentation
    from pipelines.journal import Journal
    from pipelines.recipe import TrainSection
    from pipelines.training import loop

    keras.utils.set_random_seed(3)
    tf.config.experimental.enable_op_determinism()
    pixels = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(pixels))
    x = keras.layers.Dropout(0.3)(keras.layers.Flatten()(keras.layers.BatchNormalization()(x)))
    model = keras.Model(pixels, keras.layers.Dense(10)(x))
    generator = np.random.default_rng(0)
    dataset = tf.data.Dataset.from_tensor_slices((generator.integers(0, 256, (200, 8, 8, 1)).astype("uint8"), np.arange(200) % 10))
    settings = TrainSection.model_validate(
        {"epochs": 6, "schedule": {"one_cycle": 0.01}, "callbacks": [{"early_stopping": {"monitor": "accuracy", "patience": 5}}]})

    def progress(epoch, done, metrics):
        if epoch == kill_after and done == epoch / 6:
            os.kill(os.getpid(), signal.SIGKILL)

    loop.fit(model, settings, steps=6, folder=folder, journal=Journal(folder / "journal.jsonl"), progress=progress,
             batches=lambda epoch: stream.training_batches(
                 dataset, classes=10, batch=32, augmentations=[Augmentation.read("shift")], seed=1, first_epoch=epoch, epochs=6),
             validation=stream.evaluation_batches(dataset, classes=10, batch=64))
    np.savez(out, *model.get_weights())


def in_a_process(*arguments):
    process = workers.server().Process(target=train, args=arguments)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.parametrize("kills", [(3,), pytest.param((2, 5), marks=pytest.mark.slow)])
def test_a_killed_training_ends_with_the_very_weights_of_one_that_was_not(tmp_path, kills):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    assert in_a_process(tmp_path / "whole", None, tmp_path / "whole.npz") == 0
    for epoch in kills:
        assert in_a_process(tmp_path / "killed", epoch, tmp_path / "killed.npz") == -signal.SIGKILL
        assert checkpoint.progress(tmp_path / "killed")[0] == epoch - 1
    assert in_a_process(tmp_path / "killed", None, tmp_path / "killed.npz") == 0
    whole, killed = np.load(tmp_path / "whole.npz"), np.load(tmp_path / "killed.npz")
    for name in whole.files:
        np.testing.assert_array_equal(whole[name], killed[name])


def test_early_stopping_stops_and_brings_the_best_weights_back():
    import keras

    class Spoil(keras.callbacks.Callback):
        """Makes the weights worse from the third epoch on."""

        def on_epoch_begin(self, epoch, logs=None):
            if epoch >= 2:
                self.model.set_weights([weight * 0 + 50 for weight in self.model.get_weights()])

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    inputs = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    targets = inputs.sum(axis=1, keepdims=True)
    stopping = Callback.read({"early_stopping": {"monitor": "val_loss", "patience": 2}}).build()
    history = model.fit(inputs, targets, validation_data=(inputs, targets), epochs=20, verbose=0, callbacks=[Spoil(), stopping])
    assert len(history.history["loss"]) == 4
    assert model.evaluate(inputs, targets, verbose=0) == pytest.approx(min(history.history["val_loss"]), rel=1e-5)
