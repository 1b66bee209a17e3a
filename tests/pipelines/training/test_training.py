"""The training loop: optimizers, callbacks, penalties, exact resumption."""
import math
import os
import signal

import numpy as np
import pytest

from pipelines.engine import workers
from pipelines.errors import UserError
from pipelines.training import checkpoint
from pipelines.training.callbacks import Callback, TrainingContext
from pipelines.training.optimizers import Optimizer
from tests.pipelines.training import small


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


@pytest.mark.parametrize("name", sorted(Optimizer.choices))
def test_every_optimizer_learns(name):
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(3)])
    inputs = np.random.default_rng(0).normal(size=(256, 4)).astype("float32")
    targets = np.eye(3, dtype="float32")[(inputs[:, :3]).argmax(axis=1)]
    rate = {"sgd": 0.1, "adagrad": 0.1, "lion": 0.003}.get(name, 0.01)
    model.compile(Optimizer.read(name).build(rate), keras.losses.CategoricalCrossentropy(from_logits=True))
    history = model.fit(inputs, targets, epochs=20, batch_size=32, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


def test_accumulated_gradients_are_one_large_batch():
    import keras

    def trained(accumulate, batch):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        inputs = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
        targets = np.eye(3, dtype="float32")[inputs[:, :3].argmax(axis=1)]
        optimizer = Optimizer.read({"sgd": {"accumulate": accumulate}}).build(0.1)
        model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True))
        model.fit(inputs, targets, epochs=2, batch_size=batch, shuffle=False, verbose=0)
        return model.get_weights()

    for one, other in zip(trained(4, 8), trained(1, 32), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def context(library, epochs=10, monitored=()):
    return TrainingContext(library, epochs, None, None, monitored)


def train(folder, kill_after, out):
    """Train a small model; kill its own process where told to: after so many epochs, or in the middle of one."""
    import keras
    import tensorflow as tf

    from pipelines.training import loop
    from pipelines.training.section import TrainSection

    keras.utils.set_random_seed(3)
    tf.config.experimental.enable_op_determinism()
    pixels = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(4, 3, name="conv")(keras.layers.Rescaling(1 / 255)(pixels))
    x = keras.layers.Dropout(0.3)(keras.layers.Flatten()(keras.layers.BatchNormalization()(x)))
    model = keras.Model(pixels, keras.layers.Dense(10, name="logits")(x))
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 1)).astype("float32")
    settings = TrainSection.model_validate(
        {"epochs": 6, "schedule": {"one_cycle": 0.01}, "transfer": {"unfreeze": {3: 1}},
         "callbacks": ["ema", {"early_stopping": {"monitor": "accuracy", "patience": 5}}]})

    def progress(epoch, done, metrics):
        if kill_after is not None and done >= kill_after / 6:
            os.kill(os.getpid(), signal.SIGKILL)

    labels = np.eye(10, dtype="float32")[np.arange(200) % 10]
    loop.fit(model, small.training(folder, settings, {"image": images}, {"label": labels}, batch=32, noise=5.0,
                                   progress=progress, pretrained=["conv"]))
    np.savez(out, *model.get_weights())


def in_a_process(*arguments):
    process = workers.server().Process(target=train, args=arguments)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.parametrize("kills", [(2.5,), pytest.param((2, 3.1, 5), marks=pytest.mark.slow)])
def test_a_killed_training_ends_with_the_very_weights_of_one_that_was_not(tmp_path, kills):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    assert in_a_process(tmp_path / "whole", None, tmp_path / "whole.npz") == 0
    for moment in kills:
        assert in_a_process(tmp_path / "killed", moment, tmp_path / "killed.npz") == -signal.SIGKILL
        assert checkpoint.progress(tmp_path / "killed")[0] == math.ceil(moment) - 1
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
    stopping = Callback.read({"early_stopping": {"monitor": "val_loss", "patience": 2}}).build(context(keras))
    history = model.fit(inputs, targets, validation_data=(inputs, targets), epochs=20, verbose=0,
                        callbacks=[Spoil(), stopping])
    assert len(history.history["loss"]) == 4
    assert model.evaluate(inputs, targets, verbose=0) == pytest.approx(min(history.history["val_loss"]), rel=1e-5)


def linear_fit(callbacks, epochs=12, rate=0.1):
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    inputs = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    noise = np.random.default_rng(1).normal(size=(64, 1)).astype("float32")
    history = model.fit(inputs, noise, validation_data=(inputs, noise), epochs=epochs, verbose=0, callbacks=callbacks)
    return model, history.history


def test_a_plateau_lowers_the_rate_by_the_factor():
    import keras

    plateau = Callback.read({"reduce_on_plateau": {"patience": 2, "factor": 0.5, "monitor": "loss"}})
    built = plateau.build(context(keras))
    built.min_delta = 1.0  # nothing counts as an improvement
    model, _ = linear_fit([built], epochs=7)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1 * 0.5**3)


def test_a_time_budget_ends_after_the_epoch_in_which_it_is_spent():
    import time

    import keras

    class Slow(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            time.sleep(0.3)

    _, history = linear_fit([Slow(), Callback.read({"time_budget": 0.5 / 60}).build(context(keras))], epochs=50)
    assert 1 <= len(history["loss"]) <= 2


@pytest.mark.parametrize("written", ["sgd", {"sgd": {"nesterov": True}}, "adam", "adamw", "lion"])
def test_a_constant_cycle_is_the_optimizer_itself(written):
    """With the same momentum at every step, the cycled class must do what Keras' own does."""
    import keras

    def trained(momenta):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        inputs = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
        model.compile(Optimizer.read(written).build(0.01, None, momenta), "mse")
        model.fit(inputs, inputs[:, :3], epochs=3, batch_size=16, verbose=0)
        return model.get_weights()

    cycled = trained(np.full(5, 0.9, "float32"))
    for one, other in zip(trained(None), cycled, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    moved = max(np.abs(one - two).max() for one, two in zip(cycled, trained(np.full(5, 0.2, "float32")), strict=True))
    assert moved > 1e-4


def fit_digits(folder, **settings):
    """Train a small model on forty grey images; return the learner."""
    import keras
    import tensorflow as tf

    from pipelines.training import loop
    from pipelines.training.section import TrainSection

    keras.utils.set_random_seed(3)
    pixels = keras.Input((4, 4, 1), name="image")
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Rescaling(1 / 255)(pixels))
    model = keras.Model(pixels, keras.layers.Dense(4, name="logits")(keras.layers.Flatten()(x)))
    labels = np.arange(40) % 4
    images = np.broadcast_to(60 * labels[:, None, None, None], (40, 4, 4, 1)).astype("float32")
    spoil = settings.pop("spoil", None)
    section = TrainSection.model_validate({"epochs": 4, "schedule": {"constant": 0.01}, **settings})
    targets = {"label": np.eye(4, dtype="float32")[labels]}
    training = small.training(folder, section, {"image": images}, targets, batch=8)
    clean = training.batches

    def spoiled(epoch):
        return clean(epoch).enumerate(5 * epoch).map(lambda position, batch: (
            {"image": tf.where(position == spoil, np.nan, 1.0) * batch[0]["image"]}, batch[1]))

    if spoil is not None:
        training.batches = spoiled
    return loop.fit(model, training)


def test_the_batch_that_made_the_loss_no_number_is_kept(tmp_path):
    with pytest.raises(UserError, match=r"batch 3 of epoch 2.*nan_batch.npz"):
        fit_digits(tmp_path, callbacks=["terminate_on_nan"], spoil=7)
    kept = np.load(tmp_path / "nan_batch.npz")
    assert {name: kept[name].shape for name in kept.files} == {"inputs.image": (8, 4, 4, 1), "targets.label": (8, 4)}
    assert np.isnan(kept["inputs.image"]).all() and kept["targets.label"].sum() == 8


def test_penalties_make_kernels_smaller(tmp_path):
    sizes = {}
    for name, settings in {"plain": {}, "l2": {"l2": 0.1}, "l1": {"l1": 0.1}}.items():
        (tmp_path / name).mkdir()
        sizes[name] = np.abs(fit_digits(tmp_path / name, **settings).get_layer("logits").get_weights()[0]).sum()
    assert sizes["l1"] < sizes["plain"] and sizes["l2"] < sizes["plain"]


def test_a_penalty_is_its_closed_form(tmp_path):
    import keras

    from pipelines.training.loop import penalty

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    kernel = model.get_weights()[0]
    expected = 0.3 * np.abs(kernel).sum() + 0.2 * (kernel**2).sum()
    assert float(penalty(model, 0.3, 0.2)()) == pytest.approx(expected, rel=1e-5)
    assert penalty(model, 0, 0)() == 0


def test_frozen_batch_normalization_keeps_its_statistics(tmp_path):
    (tmp_path / "frozen").mkdir()
    (tmp_path / "quick").mkdir()
    frozen = fit_digits(tmp_path / "frozen", freeze_batch_norm=True).get_layer("norm").get_weights()
    np.testing.assert_array_equal(np.concatenate(frozen), [1, 0, 0, 1])
    quick = fit_digits(tmp_path / "quick", batch_norm_momentum=0.0).get_layer("norm").get_weights()
    assert quick[2][0] == pytest.approx(90 / 255, abs=0.1)


@pytest.mark.parametrize("optimizer", [{"sgd": {"accumulate": 2}}, {"adam": {"loss_scale": 128}}])
def test_a_recipe_can_accumulate_and_scale(tmp_path, optimizer):
    model = fit_digits(tmp_path, optimizer=optimizer)
    assert model.optimizer.gradient_accumulation_steps == optimizer.get("sgd", {}).get("accumulate")


def test_tensorboard_gets_its_curves(tmp_path):
    fit_digits(tmp_path, callbacks=[{"tensorboard": str(tmp_path / "board")}])
    assert {path.parent.name for path in (tmp_path / "board").rglob("events*")} == {"train", "validation"}


def test_callbacks_look_at_the_tasks_first_metric_and_know_what_is_better():
    import keras

    from pipelines.tasks.task import Metric

    monitored = (Metric(name="error", better="lower"), Metric(name="accuracy"))
    first = Callback.read("early_stopping").build(context(keras, monitored=monitored))
    assert (first.monitor, first.mode) == ("val_error", "min")
    second = Callback.read({"early_stopping": {"monitor": "accuracy"}}).build(context(keras, monitored=monitored))
    assert (second.monitor, second.mode) == ("accuracy", "max")
    alone = Callback.read("early_stopping").build(context(keras))
    assert (alone.monitor, alone.mode) == ("val_loss", "min")
    plateau = Callback.read("reduce_on_plateau").build(context(keras, monitored=monitored))
    assert (plateau.monitor, plateau.mode) == ("val_loss", "min")


def test_a_metric_that_is_not_measured_cannot_be_monitored():
    import keras

    with pytest.raises(UserError, match=r"accuracy is not measured while the model trains; it can be val_loss, loss"):
        Callback.read({"early_stopping": {"monitor": "accuracy"}}).build(context(keras))


def test_a_regression_trains_on_dicts_of_its_own(tmp_path):
    import keras
    import tensorflow as tf

    from pipelines.engine import journal
    from pipelines.training import loop
    from pipelines.training.losses import Loss
    from pipelines.training.section import TrainSection

    keras.utils.set_random_seed(1)
    rows = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    inputs = {"first": rows, "second": rows[:, :1] ** 2}
    targets = {"value": rows.sum(axis=1) + inputs["second"][:, 0]}
    columns = {name: keras.Input(values.shape[1:], name=name) for name, values in inputs.items()}
    row = keras.layers.Concatenate()(list(columns.values()))
    model = keras.Model(columns, keras.layers.Dense(1, name="value")(row))
    compare = Loss.read("mse").build([], "values")
    settings = TrainSection.model_validate({"epochs": 40, "loss": "mse", "schedule": {"constant": 0.05}})
    whole = tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(16)
    loop.fit(model, loop.Training(
        settings=settings, objective=lambda inputs, targets, outputs: compare(targets["value"], outputs["value"]),
        watched={"error": lambda targets, outputs: tf.abs(targets["value"] - outputs["value"][:, 0])}, monitored=(),
        steps=4, batches=small.batches(inputs, targets, batch=16, epochs=40), validation=whole, folder=tmp_path,
        journal=journal.Journal(tmp_path / "journal.jsonl"), progress=lambda *report: None))
    errors = journal.series(tmp_path / "journal.jsonl")["val_error"]
    assert len(errors) == 40 and errors[39] < 0.05
    np.testing.assert_allclose(np.asarray(model(inputs))[:, 0], targets["value"], atol=0.3)
