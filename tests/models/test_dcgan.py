"""Two players: their sizes, and what each sees."""
import numpy as np
import pytest

import models
from models import dcgan

SMALL = {"input_shape": (8, 8, 1), "noise_shape": (4,), "width": 4, "depth": 2}


def test_the_players_have_the_layers_of_the_papers_figure():
    players = dcgan.parts(models.build("dcgan", input_shape=(64, 64, 3), noise_shape=(100,), classes=0))
    generator = 100 * 4 * 4 * 1024 + 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 3
    generator += 4 * (1024 + 512 + 256 + 128)
    discriminator = 25 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024) + 128 + 4 * 4 * 1024 + 1
    discriminator += 4 * (256 + 512 + 1024)
    assert players.generator.count_params() == generator == 18_858_883
    assert players.discriminator.count_params() == discriminator == 17_236_481


@pytest.mark.parametrize("normalization", ["batch", "spectral", "none"])
@pytest.mark.parametrize("classes", [0, 3])
def test_pictures_have_the_images_shape_and_a_class_goes_into_both(normalization, classes):
    model = models.build("dcgan", **SMALL, classes=classes, normalization=normalization)
    players = dcgan.parts(model)
    generator = np.random.default_rng(0)
    condition = {"condition": np.eye(3, dtype="float32")[[0, 1]]} if classes else {}
    noise = generator.normal(size=(2, 4)).astype("float32")
    made = np.asarray(players.generator({"noise": noise, **condition})["generated"])
    assert made.shape == (2, 8, 8, 1) and made.min() >= 0 and made.max() <= 255
    assert players.discriminator({"image": made, **condition})["realness"].shape == (2, 1)
    normalized = [layer for layer in players.discriminator.layers if type(layer).__name__ == "BatchNormalization"]
    assert bool(normalized) == (normalization == "batch")
    assert not {id(weight) for weight in players.generator.weights} & {
        id(weight) for weight in players.discriminator.weights}


def test_images_that_do_not_halve_are_refused():
    with pytest.raises(ValueError, match="dcgan halves images 4 times, and 28 x 28 pixels do not halve so often"):
        models.build("dcgan", input_shape=(28, 28, 1), noise_shape=(100,), classes=0)
