"""The players of StyleGAN2: their loss, their penalties against closed forms, and when these are worked out."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models import dcgan, stylegan2
from pipelines.training import checkpoint
from pipelines.training.generative.style_gan import StyleGan
from pipelines.training.learners.styled import mixed, path_lengths, steepness
from pipelines.training.learners.supervised import learning
from pipelines.training.losses import Loss

GENERATOR = np.random.default_rng(0)
INPUTS = {"image": GENERATOR.integers(0, 256, (16, 4, 4, 1)).astype("float32"),
          "noise": GENERATOR.normal(size=(16, 3)).astype("float32"),
          "condition": np.eye(2, dtype="float32")[GENERATOR.integers(0, 2, 16)]}


def batches(count=2):
    return tf.data.Dataset.from_tensor_slices((INPUTS, {"label": np.zeros(16)})).batch(8).take(count)


def learner_of(**settings):
    keras.utils.set_random_seed(0)
    model = models.build("stylegan2", input_shape=(4, 4, 1), noise_shape=(3,), classes=2, width=4, depth=1, units=4,
                         layers=1)
    chosen = Loss.read({"style_gan": settings})
    learner = learning(model, keras, chosen.learner(keras)).prepare(chosen.objective(), {})
    learner.compile(optimizer=keras.optimizers.Adam(1e-3, beta_1=0.0), run_eagerly=True)  # a few steps: no trace
    return learner


def test_each_players_loss_is_the_papers():
    real, made = np.array([2.0, -1.0], np.float32), np.array([0.5, -3.0], np.float32)
    loss = StyleGan()
    expected = np.log1p(np.exp(-real)) + np.log1p(np.exp(made))
    np.testing.assert_allclose(loss.of_discriminator(real, made), expected, 1e-5)
    np.testing.assert_allclose(loss.of_generator(made), np.log1p(np.exp(-made)), 1e-5)
    assert (loss.r1, loss.r1_every, loss.path_length, loss.path_every, loss.mixing) == (10, 16, 2, 4, 0.9)


def test_a_steep_judge_is_measured_in_the_networks_units():
    image = tf.constant(INPUTS["image"][:3])
    factor = GENERATOR.normal(size=(4, 4, 1)).astype("float32")
    result = steepness(lambda shown: tf.reduce_sum(factor * shown ** 2, axis=(1, 2, 3)) / 255, image)
    slopes = 2 * factor * INPUTS["image"][:3] / 255 * 127.5
    np.testing.assert_allclose(result, (slopes ** 2).sum(axis=(1, 2, 3)), rtol=1e-4)


def test_path_lengths_of_a_linear_generator_are_those_of_its_matrices():
    matrices = GENERATOR.normal(size=(2, 5, 12)).astype("float32")
    styles = [tf.constant(GENERATOR.normal(size=(3, 5)).astype("float32")) for _ in range(2)]

    def make(asked):
        flat = sum(tf.matmul(style, matrix) for style, matrix in zip(asked, matrices, strict=True))
        return tf.reshape(flat, [-1, 2, 2, 3])

    seed = tf.constant([3, 4])
    way = tf.random.stateless_normal([3, 2, 2, 3], seed, alg="philox").numpy().reshape(3, 12) / 2  # of 4 pixels
    products = np.einsum("lup,np->lnu", matrices, way)
    np.testing.assert_allclose(path_lengths(make, styles, seed), np.sqrt((products ** 2).sum(axis=2).mean(axis=0)),
                               rtol=1e-4)


def test_later_layers_of_a_share_of_the_batches_have_other_styles():
    first, second = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    drawn = np.array([[float(style[0, 0]) for style in mixed(first, second, 6, 0.5, tf.constant([1, number]))]
                      for number in range(100)])
    assert (np.diff(drawn, axis=1) >= 0).all() and (drawn[:, 0] == 0).all()
    crossed = drawn[drawn[:, -1] == 1]
    assert 0.35 < len(crossed) / 100 < 0.65
    assert set(crossed.sum(axis=1)) == {1, 2, 3, 4, 5}


def test_penalties_come_at_their_steps_alone():
    learner, other = learner_of(path_every=2, r1=1000, r1_every=2), learner_of(path_length=0, r1=0)
    image = tf.constant(INPUTS["image"][:8])
    judge = dcgan.parts(learner).discriminator
    condition = tf.constant(INPUTS["condition"][:8])
    steep = steepness(lambda shown: judge({"image": shown, "condition": condition})["realness"][:, 0], image)
    penalized, plain = (one.fit(batches(1), verbose=0).history["discriminator_loss"][0] for one in (learner, other))
    assert penalized - plain == pytest.approx(0.5 * 1000 * 2 * float(tf.reduce_mean(steep)), rel=1e-3)
    memory = stylegan2.halves(learner).styles.path_length
    after_one = float(memory)
    assert after_one > 0
    penalized = learner.fit(batches(1), verbose=0).history["discriminator_loss"][0]
    assert float(memory) == after_one and penalized < 100
    learner.fit(batches(1), verbose=0)
    assert float(memory) > after_one


def test_each_player_learns_and_the_generator_ships():
    learner = learner_of()
    players = dcgan.parts(learner)
    before = [[weight.numpy() for weight in player.trainable_variables] for player in players]
    history = learner.fit(batches(), verbose=0, validation_data=batches(1)).history
    assert {"loss", "discriminator_loss", "told_real", "told_made", "variety", "val_loss"} <= set(history)
    for player, weights in zip(players, before, strict=True):
        assert all(np.abs(weight.numpy() - old).max() > 0 for weight, old in zip(player.trainable_variables, weights,
                                                                                 strict=True))
    assert [int(one.iterations.numpy()) for one in learner.optimizers] == [2, 2]
    assert np.abs(stylegan2.halves(learner).styles.average.numpy()).max() > 0
    assert set(learner.shipped(learner, []).input) == {"noise", "condition"}


@pytest.mark.slow
def test_a_training_goes_on_from_its_checkpoint_as_if_it_had_not_stopped(tmp_path):
    whole = learner_of(path_every=1, r1_every=1)
    whole.fit(batches(), epochs=2, verbose=0)
    first = learner_of(path_every=1, r1_every=1)
    first.fit(batches(), epochs=1, verbose=0)
    checkpoint.save(tmp_path, first, [], 1)
    again = learner_of(path_every=1, r1_every=1)
    checkpoint.restore(tmp_path, again, [])
    again.fit(batches(), initial_epoch=1, epochs=2, verbose=0)
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
