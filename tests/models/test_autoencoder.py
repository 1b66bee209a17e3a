"""The autoencoder of a diffusion in latents: its layers, and latents with the variance of noise."""
import numpy as np
import pytest

import models
from models import variational


def count(channels, numbers, width):
    """Return the parameters, layer by layer."""
    encoder = (9 * channels + 1) * width + (9 * width + 1) * 2 * width + (18 * width + 1) * 2 * width
    latent = 2 * (2 * width + 1) * numbers + 2 * numbers  # and a mean and a variance of each
    decoder = (9 * numbers + 1) * 2 * width + (18 * width + 1) * width + (9 * width + 1) * width
    return encoder + latent + decoder + 2 * (9 * width + 1) * channels


@pytest.mark.parametrize(("shape", "numbers", "width"), [((28, 28, 1), 4, 32), ((8, 12, 3), 2, 4)])
def test_parameters_are_those_of_its_layers(shape, numbers, width):
    latent = shape[0] // 4, shape[1] // 4, numbers
    model = models.build("autoencoder", input_shape=shape, noise_shape=latent, classes=0, width=width)
    assert model.count_params() == count(shape[2], numbers, width)
    assert {name: tuple(tensor.shape[1:]) for name, tensor in model.output.items()} == {
        "generated": shape, "location": shape, "log_scale": shape, "mean": latent, "log_variance": latent}


def test_latents_have_the_variance_of_noise_in_each_channel():
    model = models.build("autoencoder", input_shape=(8, 8, 1), noise_shape=(2, 2, 3), classes=0, width=4)
    encoder = variational.parts(model).encoder
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 1)).astype("float32")
    for _ in range(60):
        encoder(images, training=True)
    latents = np.array(encoder(images, training=False)["mean"])
    np.testing.assert_allclose(latents.mean(axis=(0, 1, 2)), 0, atol=0.05)
    np.testing.assert_allclose(latents.std(axis=(0, 1, 2)), 1, atol=0.05)


@pytest.mark.parametrize(("shape", "latent", "classes", "message"), [
    ((28, 28, 1), (16,), 0, r"is a map of 7 x 7, and this is \(16,\): set data.noise.size to \[7, 7, 4\]"),
    ((28, 28, 1), (14, 14, 4), 0, "is a map of 7 x 7"), ((30, 28, 1), (7, 7, 4), 0, "do not halve so often"),
    ((28, 28, 1), (7, 7, 4), 10, "of whatever class: leave out by")])
def test_what_it_makes_no_latents_of_is_refused(shape, latent, classes, message):
    with pytest.raises(ValueError, match=message):
        models.build("autoencoder", input_shape=shape, noise_shape=latent, classes=classes)
