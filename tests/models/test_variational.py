"""Variational autoencoders: their sizes, and what their halves share."""
import numpy as np
import pytest

import models
from models import variational


def count(height, channels, noise, classes, width, units):
    """Return the parameters, layer by layer."""
    small = (height // 4) ** 2 * 2 * width
    encoder = (9 * channels + 1) * width + (9 * width + 1) * 2 * width + (small + 1) * units + 2 * (units + 1) * noise
    decoder = (noise + classes + 1) * units + (units + 1) * small
    up = (9 * 2 * width + 1) * width + (9 * width + 1) * width
    return encoder + decoder + up + 2 * (9 * width + 1) * channels


@pytest.mark.parametrize(("shape", "noise", "classes", "width", "units"), [
    ((28, 28, 1), 16, 0, 32, 128), ((8, 8, 3), 4, 10, 4, 8)])
def test_parameters_are_those_of_its_layers(shape, noise, classes, width, units):
    model = models.build("vae", input_shape=shape, noise_shape=(noise,), classes=classes, width=width, units=units)
    assert model.count_params() == count(shape[0], shape[2], noise, classes, width, units)
    assert set(model.input) == {"image", "noise", *(["condition"] if classes else [])}
    assert {name: tuple(tensor.shape[1:]) for name, tensor in model.output.items()} == {
        "generated": shape, "location": shape, "log_scale": shape, "mean": (noise,), "log_variance": (noise,)}


def test_the_halves_are_the_models():
    model = models.build("vae", input_shape=(8, 8, 1), noise_shape=(4,), classes=0, width=4, units=8)
    halves = variational.parts(model)
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (3, 8, 8, 1)).astype("float32")
    noise = generator.normal(size=(3, 4)).astype("float32")
    whole = model({"image": image, "noise": noise})
    said, made = halves.encoder(image), halves.decoder({"noise": noise})
    np.testing.assert_allclose(said["mean"], whole["mean"], atol=1e-6)
    np.testing.assert_allclose(made["generated"], whole["generated"], atol=1e-4)
    assert np.min(whole["log_scale"]) >= variational.LEAST


@pytest.mark.parametrize(("shape", "noise", "message"), [
    ((30, 28, 1), (16,), "30 x 28 pixels do not halve so often: set data.image.size to multiples of 4"),
    ((2, 2, 1), (16,), "needs images of at least 4 x 4 pixels"),
    ((28, 28, 1), (28, 28, 1), "set data.noise to how many")])
def test_what_it_cannot_halve_or_make_pictures_of_is_refused(shape, noise, message):
    with pytest.raises(ValueError, match=message):
        models.build("vae", input_shape=shape, noise_shape=noise, classes=0)
