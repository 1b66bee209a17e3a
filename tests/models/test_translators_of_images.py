"""Pix2Pix and CycleGAN: the layers of the authors' code, shapes, and images that are too small."""
import numpy as np
import pytest

import models
from models import cyclegan, pix2pix

SMALL = {"input_shape": (16, 16, 1), "output_shape": (16, 16, 3), "width": 2, "discriminator_width": 2,
         "discriminator_steps": 1}


@pytest.mark.slow
def test_the_players_have_the_weights_of_the_authors_code():
    """The code prints 54.414 M and 2.769 M of Pix2Pix, and 11,378,179 of a generator of CycleGAN."""
    paper = {"input_shape": (256, 256, 3), "output_shape": (256, 256, 3)}
    down = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 4 * 512 * 512)
    up = 16 * (512 * 512 + 3 * 1024 * 512 + 1024 * 256 + 512 * 128 + 256 * 64 + 128 * 3) + 3
    normalized = 2 * (128 + 256 + 4 * 512) + 2 * (4 * 512 + 256 + 128 + 64)
    judge = 16 * (64 * 128 + 128 * 256 + 256 * 512 + 512) + 1 + 64
    players = pix2pix.parts(models.build("pix2pix", **paper))
    assert players.generator.count_params() == down + up + normalized == 54_413_955
    assert players.discriminator.count_params() == judge + 16 * 6 * 64 + 2 * (128 + 256 + 512) == 2_768_705
    assert players.discriminator.output["realness"].shape == (None, 30, 30, 1)
    four = cyclegan.parts(models.build("cyclegan", **paper))
    ends = 49 * 3 * 64 + 64 + 49 * 64 * 3 + 3
    steps = 9 * (64 * 128 + 128 * 256) * 2 + 128 + 256 + 128 + 64
    assert four.there.count_params() == four.back.count_params() == ends + steps + 18 * (9 * 256 * 256 + 256)
    assert four.there.count_params() == 11_378_179
    assert four.of_targets.count_params() == judge + 16 * 3 * 64 + 128 + 256 + 512 == 2_764_737


@pytest.mark.parametrize(("name", "settings"), [("pix2pix", {"depth": 4}), ("cyclegan", {"residual_blocks": 1})])
def test_images_become_images_of_other_channels(name, settings):
    model = models.build(name, **SMALL, **settings)
    generator = np.random.default_rng(0)
    given = {"image": generator.uniform(0, 255, (2, 16, 16, 1)), "target": generator.uniform(0, 255, (2, 16, 16, 3))}
    made = {key: np.asarray(value) for key, value in model({key: value.astype("float32") for key, value in
                                                            given.items()}).items()}
    assert made["generated"].shape == (2, 16, 16, 3)
    assert made["generated"].min() >= 0 and made["generated"].max() <= 255
    assert made["realness"].shape == (2, 6, 6, 1)
    if name == "cyclegan":
        assert made["returned"].shape == (2, 16, 16, 1) and made["input_realness"].shape == (2, 6, 6, 1)


def test_maps_are_normalized_image_by_image():
    """A batch changes nothing: what is made of an image alone is what is made of it beside others."""
    model = pix2pix.parts(models.build("pix2pix", **SMALL, depth=4)).generator
    images = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 1)).astype("float32")
    together = np.asarray(model({"image": images})["generated"])
    alone = np.asarray(model({"image": images[1:2]})["generated"])
    np.testing.assert_allclose(together[1:2], alone, atol=1e-3)


@pytest.mark.parametrize(("name", "settings", "message"), [
    ("pix2pix", {"depth": 5}, "pix2pix needs images of at least 32 x 32 pixels, got 16 x 16"),
    ("pix2pix", {"depth": 3, "input_shape": (20, 20, 1)}, "pix2pix halves images 3 times, and 20 x 20 pixels do not"),
    ("pix2pix", {"depth": 3, "discriminator_steps": 3}, "discriminator halves images 3 times and needs 32 x 32 pixels"),
    ("cyclegan", {"input_shape": (18, 18, 1)}, "cyclegan halves images 2 times, and 18 x 18 pixels do not"),
    ("cyclegan", {"output_shape": (24, 24, 1)}, "makes images of the size of its input, 16 x 16 pixels, and targets")])
def test_images_that_do_not_fit_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        models.build(name, **{**SMALL, **settings})
