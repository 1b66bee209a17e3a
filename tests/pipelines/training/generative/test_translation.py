"""Games about images made of images: what the players make small, by which optimizers, and that all of them resume."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from pipelines.errors import UserError
from pipelines.training import checkpoint
from pipelines.training.generative.cycles import CycleGan
from pipelines.training.generative.translation import PairedGan, Players
from pipelines.training.learners.supervised import learning
from pipelines.training.losses import Loss

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (8, 8, 8, 1)).astype("float32")
TARGETS = 255 - IMAGES
BUILDERS = {"pix2pix": {"depth": 3}, "cyclegan": {"residual_blocks": 1}}


def batches(size=4):
    return tf.data.Dataset.from_tensor_slices(({"image": IMAGES}, {"target": TARGETS})).batch(size)


def loss_of(builder):
    return Loss.read({"pix2pix": "paired_gan", "cyclegan": {"cycle_gan": {"history": 3}}}[builder])


def learner_of(builder, loss=None):
    keras.utils.set_random_seed(0)
    model = models.build(builder, input_shape=(8, 8, 1), output_shape=(8, 8, 1), width=2, discriminator_width=2,
                         discriminator_steps=1, **BUILDERS[builder])
    chosen = loss or Loss.read({"pix2pix": "paired_gan", "cyclegan": "cycle_gan"}[builder])
    learner = learning(model, keras, chosen.learner(keras)).prepare(chosen.objective(), {})
    learner.compile(optimizer=keras.optimizers.Adam(1e-3, beta_1=0.5), run_eagerly=True)  # a few steps: no trace
    return learner


def brighter(name, given, by):
    return lambda inputs, training: {name: inputs[given] + by}


def said(name, value, seen=("target", "image")):
    """Return a judge that says the mean of the last of its images, plus a number."""
    def judge(inputs, training):
        shown = next(inputs[one] for one in seen if one in inputs)
        return {name: tf.reduce_mean(shown, axis=(1, 2, 3), keepdims=True) / 255 + value}

    return judge


def softplus(value):
    return np.log1p(np.exp(value))


def test_the_paired_loss_is_the_papers():
    image, target = np.full((2, 4, 4, 1), 100.0, "float32"), np.full((2, 4, 4, 1), 160.0, "float32")
    players = Players([brighter("generated", "image", 10)], [said("realness", 0.5)])
    loss = PairedGan(weight=3)
    value, made = loss.of_makers(players, image, target, False)
    of_made, of_real = 110 / 255 + 0.5, 160 / 255 + 0.5
    np.testing.assert_allclose(value, softplus(-of_made) + 3 * 50 / 127.5, rtol=1e-5)
    np.testing.assert_allclose(made.measured, 50)
    lost, judged = loss.of_judges(players, image, target, made, False)
    np.testing.assert_allclose(lost, (softplus(-of_real) + softplus(of_made)) / 2, rtol=1e-5)
    np.testing.assert_allclose(judged.real, np.full((2, 1, 1, 1), of_real), rtol=1e-6)


def test_the_cycle_loss_is_the_papers():
    image, target = np.full((2, 4, 4, 1), 100.0, "float32"), np.full((2, 4, 4, 1), 160.0, "float32")

    def there(inputs, training):
        return {"generated": 1.5 * inputs["image"]}

    players = Players([there, brighter("returned", "target", -30)],
                      [said("realness", 0.0), said("input_realness", 0.25)])
    value, made = CycleGan(weight=2, identity=0.25).of_makers(players, image, target, False)
    # 100 becomes 150 and 120 again; 160 becomes 130 and 195
    np.testing.assert_allclose(made.measured, 20)
    expected = (150 / 255 - 1) ** 2 + (130 / 255 + 0.25 - 1) ** 2 + 2 * (20 + 35) / 127.5
    expected += 2 * 0.25 * (80 + 30) / 127.5  # 160 becomes 240, and 100 becomes 70, of what is to stay as it is
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    lost, judged = CycleGan().of_judges(players, image, target, made, False)
    squares = (160 / 255 - 1) ** 2 + (100 / 255 - 0.75) ** 2 + (150 / 255) ** 2 + (130 / 255 + 0.25) ** 2
    np.testing.assert_allclose(lost, squares / 2, rtol=1e-5)
    assert judged.threshold == 0.5


@pytest.mark.parametrize("builder", BUILDERS)
def test_each_side_learns_by_its_own_optimizer(builder):
    learner = learner_of(builder)
    before = [weight.numpy() for weight in learner.trainable_variables]
    history = learner.fit(batches(), epochs=1, validation_data=batches(), verbose=0).history
    measured = {"pix2pix": "distance", "cyclegan": "cycle_error"}[builder]
    assert {"loss", "discriminator_loss", "told_real", "told_made", "variety", measured, f"val_{measured}"} <= set(
        history)
    assert all(np.abs(weight.numpy() - old).max() > 0 for weight, old in zip(learner.trainable_variables, before,
                                                                             strict=True))
    assert [int(one.iterations.numpy()) for one in learner.optimizers] == [2, 2]
    assert sum(len(one.variables) - 2 for one in learner.optimizers) == 2 * len(learner.trainable_variables)
    assert [int(one.filled.numpy()) for one in getattr(learner, "histories", [])] == [8] * (2 * (builder == "cyclegan"))
    shipped = learner.shipped(learner, [])
    assert set(shipped.output) == ({"generated"} if builder == "pix2pix" else {"generated", "cycled"})


@pytest.mark.slow
@pytest.mark.parametrize("builder", BUILDERS)
def test_a_training_goes_on_from_its_checkpoint_as_if_it_had_not_stopped(builder, tmp_path):
    whole = learner_of(builder, loss_of(builder))
    whole.fit(batches(), epochs=2, verbose=0, shuffle=False)
    first = learner_of(builder, loss_of(builder))
    first.fit(batches(), epochs=1, verbose=0, shuffle=False)
    checkpoint.save(tmp_path, first, [], 1)
    again = learner_of(builder, loss_of(builder))
    checkpoint.restore(tmp_path, again, [])
    for one, other in zip(first.optimizers, again.optimizers, strict=True):
        for kept, restored in zip(one.variables, other.variables, strict=True):
            np.testing.assert_array_equal(kept, restored)
    for one, other in zip(getattr(first, "histories", []), getattr(again, "histories", []), strict=True):
        assert np.ptp(one.images) > 0 and int(one.filled.numpy()) == 3  # smaller than a batch, and so exchanged
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.filled, other.filled)
    again.fit(batches(), initial_epoch=1, epochs=2, verbose=0, shuffle=False)
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
def test_a_batch_of_one_image_is_no_collapse():
    assert learner_of("pix2pix").fit(batches(1), epochs=1, verbose=0).history["variety"] == [1.0]


def test_what_ships_cannot_be_trained_any_further():
    learner = learner_of("pix2pix")
    chosen = Loss.read("paired_gan")
    with pytest.raises(UserError, match="needs the discriminator, which does not ship"):
        learning(learner.shipped(learner, []), keras, chosen.learner(keras)).prepare(chosen.objective(), {})


def test_images_of_unequal_kinds_are_not_made_of_themselves():
    with pytest.raises(UserError, match=r"data\.image has 1 channels and data\.target 3: set it to 0"):
        CycleGan().check((8, 8, 1), (8, 8, 3))
    CycleGan(identity=0).check((8, 8, 1), (8, 8, 3))
