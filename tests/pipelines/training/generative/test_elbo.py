"""The evidence lower bound, against NumPy, and by what probabilities add up to."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from pipelines.tasks.image_generation.autoencoding import bits_of
from pipelines.training.generative.elbo import Elbo, costs, log_probability
from pipelines.training.learners.supervised import learning
from pipelines.training.losses import Loss

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize(("location", "scale"), [(0.5, -2.0), (-0.2, -4.0), (1.1, -3.0), (0.3, -7.0), (0.9, 1.0)])
def test_the_levels_of_a_pixel_have_a_probability_of_1_together(location, scale):
    levels = tf.reshape(tf.range(256, dtype=tf.float32), [256, 1, 1, 1])
    known = log_probability(levels, tf.fill([256, 1, 1, 1], location), tf.fill([256, 1, 1, 1], scale))
    assert np.exp(known.numpy().astype(float)).sum() == pytest.approx(1, abs=2e-3)


def test_the_bits_are_those_of_numpy_in_double_precision():
    shape = (5, 4, 4, 1)
    images = GENERATOR.integers(0, 256, shape)
    images[0] = 0
    images[1] = 255
    said = {"location": GENERATOR.normal(0.5, 0.5, shape), "log_scale": GENERATOR.uniform(-5, 0, shape),
            "mean": GENERATOR.normal(size=(5, 3)), "log_variance": GENERATOR.normal(size=(5, 3))}
    said = {name: values.astype("float32") for name, values in said.items()}
    image, noise = costs({"image": tf.constant(images, tf.float32)}, said)
    np.testing.assert_allclose(image + noise, bits_of(images, said), rtol=2e-4)


def test_noise_costs_nothing_where_the_encoder_says_nothing_and_by_hand_where_it_does():
    shape = (1, 2, 2, 1)
    said = {"location": tf.zeros(shape), "log_scale": tf.zeros(shape), "mean": tf.zeros([1, 2]),
            "log_variance": tf.zeros([1, 2])}
    images = {"image": tf.zeros(shape)}
    assert costs(images, said)[1].numpy() == pytest.approx([0])
    said["mean"], said["log_variance"] = tf.constant([[1.0, 0.0]]), tf.math.log(tf.constant([[1.0, 4.0]]))
    expected = 0.5 * (1 + 4 - 1 - np.log(4)) / (4 * np.log(2))  # KL(N(m, s^2) | N(0, 1)), in bits of four numbers
    assert costs(images, said)[1].numpy() == pytest.approx([expected])


def test_beta_weighs_what_noise_costs():
    shape = (3, 4, 4, 1)
    said = {"location": GENERATOR.normal(size=shape), "log_scale": GENERATOR.normal(size=shape),
            "mean": GENERATOR.normal(size=(3, 2)), "log_variance": GENERATOR.normal(size=(3, 2))}
    said = {name: tf.constant(values, tf.float32) for name, values in said.items()}
    images = {"image": tf.fill(shape, 100.0)}
    image, noise = costs(images, said)
    np.testing.assert_allclose(Elbo(beta=4).objective()(images, {}, said), image + 4 * noise)


@pytest.mark.slow
def test_it_is_learnt_and_validation_is_the_same_each_time():
    keras.utils.set_random_seed(0)
    model = models.build("vae", input_shape=(8, 8, 1), noise_shape=(2,), classes=2, width=4, units=16)
    loss = Loss.read({"elbo": 1.0})
    learner = learning(model, keras, loss.learner(keras)).prepare(loss.objective(), {})
    learner.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    labels = np.arange(64) % 2
    images = np.where(labels[:, None, None, None] > 0, 200, 30) + GENERATOR.integers(0, 20, (64, 8, 8, 1))
    inputs = {"image": images.astype("float32"), "noise": GENERATOR.normal(size=(64, 2)).astype("float32"),
              "condition": np.eye(2, dtype="float32")[labels]}
    batches = tf.data.Dataset.from_tensor_slices((inputs, {"label": labels})).batch(32)
    history = learner.fit(batches, validation_data=batches, epochs=20, verbose=0).history
    assert history["val_loss"][-1] < history["val_loss"][0] - 0.5
    assert learner.evaluate(batches, verbose=0, return_dict=True)["loss"] == history["val_loss"][-1]
    assert learner.shipped(model, ["generated"]) is model, "the encoder ships"
    made = model({**inputs, "noise": np.zeros((64, 2), "float32")})["generated"]
    assert np.mean(made[1::2]) > np.mean(made[::2]) + 60, "the class that is asked for"
