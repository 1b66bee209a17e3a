"""Simple models of pixels, whose bits can be worked out."""
import numpy as np
import pytest

from pipelines.tasks.image_generation import baselines

GENERATOR = np.random.default_rng(0)


def test_pixels_by_themselves_take_their_entropy():
    images = np.zeros((4000, 2, 2, 1), np.uint8)
    images[:, 0, 0, 0] = np.where(np.arange(4000) % 4 == 0, 255, 0)  # 0.8113 bits
    images[:, 1, 1, 0] = np.arange(4000) % 8  # 3 bits
    simple = baselines.factorized(images, images, images)
    assert simple.bits == pytest.approx((0.8113 + 3) / 4, abs=0.002)
    assert simple.pictures.shape == images.shape and set(np.unique(simple.pictures[:, 0, 0])) == {0, 255}


def test_a_mixture_tells_kinds_of_images_apart_that_pixels_by_themselves_do_not():
    kinds = np.where(GENERATOR.integers(0, 2, (900, 1)) > 0, 200, 50)
    images = np.clip(np.round(kinds + GENERATOR.normal(0, 2, (900, 16))), 0, 255).astype(np.uint8)
    parts = [part.reshape(-1, 4, 4, 1) for part in np.split(images, [500, 700])]
    mixed = baselines.mixture(*parts, components=2)
    alone, together = baselines.factorized(*parts).bits, mixed.bits
    entropy = 0.5 * np.log2(2 * np.pi * np.e * 4)
    assert together == pytest.approx(entropy + 1 / 16, abs=0.15)
    assert alone == pytest.approx(entropy + 1, abs=0.3) and together < alone - 0.5
    means = mixed.pictures.reshape(200, -1).mean(axis=1)
    assert ((abs(means - 50) < 5) | (abs(means - 200) < 5)).all(), "pictures are of one kind or the other"


def test_no_level_is_impossible():
    black, white = np.zeros((10, 2, 2, 1), np.uint8), np.full((10, 2, 2, 1), 255, np.uint8)
    assert np.isfinite(baselines.factorized(black, black, white).bits)
    assert np.isfinite(baselines.mixture(black, black, white, components=1).bits)
