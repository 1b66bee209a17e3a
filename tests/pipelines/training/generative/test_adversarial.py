"""Two players: what each makes small, that both optimizers are kept, and that a lost game is named."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import pipelines.training.generative.adversarial  # noqa: F401  makes its losses known
from pipelines.errors import UserError
from pipelines.training import checkpoint
from pipelines.training.learners.supervised import learning
from pipelines.training.losses import Loss

GENERATOR = np.random.default_rng(0)
INPUTS = {"image": GENERATOR.integers(0, 256, (32, 8, 8, 1)).astype("float32"),
          "noise": GENERATOR.normal(size=(32, 4)).astype("float32")}


def batches():
    return tf.data.Dataset.from_tensor_slices((INPUTS, {"label": np.zeros(32)})).batch(16)


def learner_of(loss="gan", rate=1e-3, **settings):
    keras.utils.set_random_seed(0)
    model = models.build("dcgan", input_shape=(8, 8, 1), noise_shape=(4,), classes=0, width=4, depth=2, **settings)
    chosen = Loss.read(loss)
    learner = learning(model, keras, chosen.learner(keras)).prepare(chosen.objective(), {})
    learner.compile(optimizer=keras.optimizers.Adam(rate, beta_1=0.5), run_eagerly=True)  # a few steps: no trace
    return learner


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def test_each_players_loss_is_its_papers():
    real, made = np.array([2.0, -1.0], np.float32), np.array([0.5, -3.0], np.float32)
    gan, smooth, hinge, distance = map(Loss.read, ("gan", {"gan": 0.1}, "hinge_gan", "wasserstein"))
    entropies = [-np.log(sigmoid(real)), -np.log(1 - sigmoid(real)), -np.log(1 - sigmoid(made))]
    np.testing.assert_allclose(gan.of_discriminator(real, made), entropies[0] + entropies[2], 1e-5)
    np.testing.assert_allclose(gan.of_generator(made), -np.log(sigmoid(made)), 1e-5)
    smoothed = 0.9 * entropies[0] + 0.1 * entropies[1] + entropies[2]
    np.testing.assert_allclose(smooth.of_discriminator(real, made), smoothed, 1e-5)
    np.testing.assert_allclose(hinge.of_discriminator(real, made), [0 + 1.5, 2 + 0])
    np.testing.assert_allclose(distance.of_discriminator(real, made), made - real)
    assert distance.penalty == 10 and distance.steps == 5


def test_each_player_learns_by_its_own_optimizer():
    learner = learner_of()
    players = models.dcgan.parts(learner)
    before = [[weight.numpy() for weight in player.trainable_variables] for player in players]
    history = learner.fit(batches(), epochs=1, validation_data=batches(), verbose=0).history
    assert {"loss", "discriminator_loss", "told_real", "told_made", "variety", "val_loss"} <= set(history)
    for player, weights in zip(players, before, strict=True):
        assert all(np.abs(weight.numpy() - old).max() > 0 for weight, old in zip(player.trainable_variables, weights,
                                                                                 strict=True))
    assert [int(one.iterations.numpy()) for one in learner.optimizers] == [2, 2]
    assert len(learner.optimizers[0].variables) == 2 + 2 * len(players.generator.trainable_variables)
    assert len(learner.optimizers[1].variables) == 2 + 2 * len(players.discriminator.trainable_variables)
    assert set(learner.shipped(learner, []).input) == {"noise"}, "the discriminator does not ship"


@pytest.mark.slow
def test_a_training_goes_on_from_its_checkpoint_as_if_it_had_not_stopped(tmp_path):
    whole = learner_of()
    whole.fit(batches(), epochs=2, verbose=0)
    first = learner_of()
    first.fit(batches(), epochs=1, verbose=0)
    checkpoint.save(tmp_path, first, [], 1)
    again = learner_of()
    checkpoint.restore(tmp_path, again, [])
    for one, other in zip(first.optimizers, again.optimizers, strict=True):
        for kept, restored in zip(one.variables, other.variables, strict=True):
            np.testing.assert_array_equal(kept, restored)
    again.fit(batches(), initial_epoch=1, epochs=2, verbose=0)
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
def test_the_critic_takes_its_steps_and_its_gradients_are_penalized():
    learner = learner_of({"wasserstein": {"steps": 2}}, normalization="none")
    history = learner.fit(batches(), epochs=1, verbose=0).history
    assert [int(one.iterations.numpy()) for one in learner.optimizers] == [2, 4]
    assert history["discriminator_loss"][0] > 1, "the penalty of a gradient of length near 0 is 10"


def test_pictures_that_are_all_alike_are_named():
    learner = learner_of()
    dense = next(layer for layer in models.dcgan.parts(learner).generator.layers if layer.name.startswith("dense"))
    dense.kernel.assign(np.zeros(dense.kernel.shape))
    learner.optimizers[0].learning_rate = 0.0
    with pytest.raises(UserError, match=r"the generator has collapsed: the pictures of a batch differ by 0\.0%"):
        learner.fit(batches(), epochs=1, verbose=0)


def test_a_batch_of_one_does_not_look_like_a_collapse():
    learner = learner_of()
    one = tf.data.Dataset.from_tensor_slices((INPUTS, {"label": np.zeros(32)})).take(2).batch(1)
    assert learner.fit(one, epochs=1, verbose=0).history["variety"] == [1.0]


def test_players_that_diverge_are_named():
    learner = learner_of()
    dense = next(layer for layer in models.dcgan.parts(learner).discriminator.layers if layer.name == "realness")
    dense.bias.assign([np.nan])
    with pytest.raises(UserError, match="the players diverge: the discriminator's loss is nan after epoch 1"):
        learner.fit(batches(), epochs=1, verbose=0)


def test_what_ships_cannot_be_trained_any_further():
    learner = learner_of()
    shipped = learner.shipped(learner, [])
    chosen = Loss.read("gan")
    with pytest.raises(UserError, match="needs the discriminator, which does not ship"):
        learning(shipped, keras, chosen.learner(keras)).prepare(chosen.objective(), {})
