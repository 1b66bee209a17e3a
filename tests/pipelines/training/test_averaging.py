"""Averages of weights: their formulas, and what is validated, kept and shipped."""
import keras
import numpy as np
import pytest

from pipelines.training import averaging  # noqa: F401  makes its callbacks known
from pipelines.training.callbacks import Callback, TrainingContext

INPUTS = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
TARGETS = np.random.default_rng(1).normal(size=(64, 1)).astype("float32")


class Recorder(keras.callbacks.Callback):
    """Notes the weights after each batch, at each validation, and at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.batches, self.validated, self.ends = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append([np.array(weight) for weight in self.model.get_weights()])

    def on_test_batch_end(self, batch, logs=None):
        self.validated.append([np.array(weight) for weight in self.model.get_weights()])

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append([np.array(weight) for weight in self.model.get_weights()])


def trained(*written, epochs=4):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.BatchNormalization()])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    recorder = Recorder()
    context = TrainingContext(keras, epochs, None, None)
    model.fit(INPUTS, TARGETS, validation_data=(INPUTS, TARGETS), epochs=epochs, batch_size=16, verbose=0,
              shuffle=False, callbacks=[*(Callback.read(one).build(context) for one in written), recorder])
    return model, recorder


def test_training_goes_on_from_its_own_weights():
    for one, other in zip(trained("ema")[1].batches, trained()[1].batches, strict=True):
        for mine, plain in zip(one, other, strict=True):
            np.testing.assert_allclose(mine, plain, atol=1e-6)


def test_ema_is_its_formula_and_is_what_ships():
    model, recorder = trained({"ema": 0.8})
    averages = recorder.batches[0]
    for step, weights in enumerate(recorder.batches):
        share = 1 - min(0.8, (1 + step) / (10 + step))
        averages = [average + share * (weight - average) for average, weight in zip(averages, weights, strict=True)]
    for result, expected in zip(model.get_weights(), averages, strict=True):
        np.testing.assert_allclose(result, expected, atol=1e-5)
    for result, expected in zip(recorder.validated[-1], averages, strict=True):
        np.testing.assert_allclose(result, expected, atol=1e-5)
    moved = [np.abs(average - last).max() for average, last in zip(averages, recorder.batches[-1], strict=True)]
    assert max(moved) > 1e-3


def test_swa_is_the_mean_of_the_last_epochs():
    model, recorder = trained({"swa": 0.5})
    last = [recorder.batches[4 * epoch + 3] for epoch in (2, 3)]
    for result, first, second in zip(model.get_weights(), *last, strict=True):
        np.testing.assert_allclose(result, (first + second) / 2, atol=1e-5)


def test_early_stopping_keeps_the_average_that_it_judged():
    model, recorder = trained({"ema": 0.9}, {"early_stopping": {"monitor": "val_loss", "patience": 1}}, epochs=30)
    assert any(all(np.array_equal(kept, weight) for kept, weight in zip(model.get_weights(), weights, strict=True))
               for weights in recorder.ends)
    assert model.evaluate(INPUTS, TARGETS, verbose=0) == pytest.approx(min(model.history.history["val_loss"]), rel=1e-4)
