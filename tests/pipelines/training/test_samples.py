"""Pictures of the same noise while a model learns: which epochs, which noise, and that they are the model's."""
import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import models
from export.writing import diffusion
from pipelines.errors import UserError
from pipelines.figures.tiles import tiled
from pipelines.training.callbacks import Callback, TrainingContext
from pipelines.training.generative.adversarial import Gan
from pipelines.training.generative.elbo import Elbo
from pipelines.training.generative.translation import PairedGan
from pipelines.training.learners.diffusing import diffusing
from pipelines.training.learners.supervised import learning, supervised

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (6, 8, 8, 1)).astype("uint8")
NOISE = GENERATOR.normal(size=(6, 3)).astype("float32")
LOSSES = {"vae": Elbo, "dcgan": Gan, "pix2pix": PairedGan}
SMALL = {"vae": {"width": 2, "units": 4}, "dcgan": {"width": 2, "depth": 2},
         "pix2pix": {"width": 2, "depth": 3, "discriminator_width": 2, "discriminator_steps": 1}}


def learner_of(builder):
    keras.utils.set_random_seed(0)
    known = {"input_shape": (8, 8, 1), **({"output_shape": (8, 8, 1)} if builder == "pix2pix" else
                                          {"noise_shape": (3,), "classes": 0})}
    chosen = LOSSES[builder]()
    model = models.build(builder, **known, **SMALL[builder])
    learner = learning(model, keras, chosen.learner(keras)).prepare(chosen.objective(), {})
    learner.compile(optimizer=keras.optimizers.Adam(1e-3), run_eagerly=True)
    return learner


def batch_at(epoch, position):
    """Return batches of four and of two examples, and no more."""
    if position > 1:
        raise StopIteration
    rows = slice(4 * position, 4 * position + 4)
    return {"image": IMAGES[rows], "noise": NOISE[rows]}, {}


def drawing(learner, folder, epochs, **settings):
    callback = Callback.read({"samples": settings}).build(TrainingContext(keras, epochs, folder, batch_at))
    callback.set_model(learner)
    callback.on_train_begin()
    return callback


def pixels(path):
    return np.asarray(PIL.Image.open(path))


def test_pictures_of_the_first_noise_are_written_at_epochs_as_far_apart(tmp_path):
    learner = learner_of("dcgan")
    callback = drawing(learner, tmp_path, 9, count=5, most=3)
    for epoch in range(9):
        if epoch == 8:
            learner.set_weights([np.abs(GENERATOR.normal(0, 0.2, weight.shape)) for weight in learner.get_weights()])
        callback.on_epoch_end(epoch)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        "epoch_0001.png", "epoch_0005.png", "epoch_0009.png"]
    first, again, last = (pixels(tmp_path / f"samples/epoch_000{number}.png") for number in (1, 5, 9))
    np.testing.assert_array_equal(first, again)
    assert (first != last).any()
    made = learner({"image": IMAGES, "noise": NOISE}, training=False)["generated"].numpy()
    expected = tiled(np.clip(np.round(made[:5]), 0, 255).astype("uint8"), 5)[..., 0]
    np.testing.assert_allclose(last.astype(int), expected, atol=1)
    np.testing.assert_array_equal(pixels(tmp_path / "pictures_by_epoch.png"),
                                  np.concatenate([one[:9] for one in (first, again, last)]))


@pytest.mark.slow
def test_a_training_draws_them_and_goes_on_as_without(tmp_path):
    batches = tf.data.Dataset.from_tensors(({"image": IMAGES, "noise": NOISE}, {}))
    plain, watched = learner_of("vae"), learner_of("vae")
    plain.fit(batches, epochs=2, verbose=0)
    callback = Callback.read({"samples": 64}).build(TrainingContext(keras, 2, tmp_path, batch_at))
    watched.fit(batches, epochs=2, verbose=0, callbacks=[callback])
    for one, other in zip(plain.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(list((tmp_path / "samples").iterdir())) == 2


def test_what_is_made_of_an_image_stands_on_its_right():
    learner = learner_of("pix2pix")
    both = np.asarray(learner.pictures({"image": IMAGES}))
    assert both.shape == (6, 8, 16, 1)
    np.testing.assert_array_equal(both[:, :, :8], IMAGES)
    made = learner({"image": IMAGES.astype("float32"), "target": IMAGES.astype("float32")}, training=False)
    np.testing.assert_allclose(both[:, :, 8:], made["generated"], atol=1e-3)


def test_a_diffusion_takes_the_steps_of_ddim():
    """A network that always says where the image is makes that image."""
    noise, step = keras.Input((2, 2, 1), name="noise"), keras.Input((), name="step")
    quarter = keras.layers.Rescaling(0.0, offset=0.25, name="denoised")(noise)
    model = keras.Model({"noise": noise, "step": step}, {"denoised": quarter})
    learner = learning(model, keras, diffusing(keras, diffusion.signal(30, "cosine"), "image", 0.0))
    made = learner.pictures({"noise": NOISE[:2, :1, None, None] * np.ones((1, 2, 2, 1), "float32")})
    np.testing.assert_allclose(made, np.full((2, 2, 2, 1), 127.5 * 1.25), rtol=1e-5)


def test_a_model_that_makes_no_pictures_has_none(tmp_path):
    pixels = keras.Input((4,), name="values")
    learner = learning(keras.Model(pixels, keras.layers.Dense(1, name="logits")(pixels)), keras, supervised(keras))
    with pytest.raises(UserError, match=r"train\.callbacks: samples are pictures of models that make some"):
        drawing(learner, tmp_path, 3)
