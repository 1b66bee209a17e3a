"""Augmentations that draw from a bank of changes: RandAugment and AugMix.

Each image of a batch gets a change of its own. A bank's changes are made of the whole batch and each image takes one of
them, which costs more arithmetic than changing each alone, and less time.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from etils import epy
from pydantic import Field

from export.signature import Role
from pipelines.ingest.augmentation.augmentation import (
    Augmentation,
    Batch,
    ImageAugmentation,
    Roles,
    beta,
    first_image,
    uniform,
)
from pipelines.ingest.augmentation.geometric import affine, moved, warp

with epy.lazy_imports():
    import tensorflow as tf

#: The strength that the papers call the highest.
MOST = 10
MASK: tuple[Role, ...] = ("mask",)


class RandAugment(Augmentation, name="rand_augment", shorthand="magnitude"):
    """`changes` after each other, each drawn from a bank of fourteen, all of the same magnitude (Cubuk et al. 2020).

    Args:
        magnitude: 0 to 10, as in the paper.
        changes: how many.
    """

    fits_boxes = False
    magnitude: float = Field(5, ge=0, le=MOST)
    changes: int = Field(2, ge=1, le=8)

    def apply(self, batch: Batch, seed: tf.Tensor, roles: Roles) -> Batch:
        names, strength = [*GEOMETRIC, *PHOTOMETRIC], self.magnitude / MOST
        for number in range(self.changes):
            entry_seed = seed + 40 * number
            if "mask" in roles.values():  # which follows what moves pixels
                images = first_image(batch, roles)
                drawn = draw(tf.shape(images)[0], images.shape[1], images.shape[2], strength, entry_seed, names)
                batch = moved(batch, roles, drawn.matrix, MASK)
            batch = {name: changed(values, strength, entry_seed, names) if roles[name] == "image" else values
                     for name, values in batch.items()}
        return batch


class AugMix(ImageAugmentation, name="augmix", shorthand="severity"):
    """The image mixed with a mixture of chains of one to three changes (Hendrycks et al. 2020).

    The paper's consistency loss is no part of it.

    Args:
        severity: of each change, 0 to 10; drawn again, up to that, for each image.
        chains: how many are mixed, in shares from Dirichlet(1).
    """

    fits_boxes = False
    severity: float = Field(3, ge=0, le=MOST)
    chains: int = Field(3, ge=1, le=8)

    def change(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        count = tf.shape(images)[0]
        names = [name for name in [*GEOMETRIC, *PHOTOMETRIC] if name not in CORRUPTIONS]
        shares = tf.random.stateless_gamma([count, self.chains], seed, alpha=1.0) + 1e-20
        shares /= tf.reduce_sum(shares, axis=1, keepdims=True)
        mixture = tf.zeros_like(images)
        for chain in range(self.chains):
            own, depth = seed + 1000 * (chain + 1), uniform(count, seed + 7 + chain)
            link = images
            for position in range(3):
                longer = changed(link, self.severity / MOST, own + 40 * position, names)
                goes_on = depth > 2 * position / 3 - 1  # a third of the chains has one, two, three links
                link = tf.where(_per_image(goes_on), longer, link)
            mixture += _per_image(shares[:, chain]) * link
        kept = _per_image(beta(count, 1.0, seed + 3))
        return kept * images + (1 - kept) * mixture

    def misfit(self, roles: Roles) -> str | None:
        if "mask" in roles.values():
            return "augmix mixes images that were moved differently, which no mask can follow"
        return super().misfit(roles)


class Drawn(NamedTuple):
    """What each image of a batch gets: the number of its change, its sign, (batch,) each, and its map (batch, 3, 3)."""

    chosen: tf.Tensor
    sign: tf.Tensor
    matrix: tf.Tensor


def draw(count: tf.Tensor, height: int, width: int, strength: float, seed: tf.Tensor, names: Sequence[str]) -> Drawn:
    """Return a change out of the named ones for each of `count` images."""
    chosen = tf.random.stateless_uniform([count], seed, 0, len(names), tf.int32)
    sign = tf.sign(uniform(count, seed + 1))
    one, zero = tf.ones([count]), tf.zeros([count])
    matrix = affine(one, zero, zero, one)
    for number, name in enumerate(names):
        if name in GEOMETRIC:
            own = GEOMETRIC[name](strength * sign, one, zero, height, width)
            matrix = tf.where((chosen == number)[:, None, None], own, matrix)
    return Drawn(chosen, sign, matrix)


def changed(images: tf.Tensor, strength: float, seed: tf.Tensor, names: Sequence[str]) -> tf.Tensor:
    """Return each image under one of the named changes.

    Args:
        images: (batch, height, width, channels), 0..255.
        strength: 0 to 1, the highest.
        seed: two int32 numbers.
        names: of GEOMETRIC and PHOTOMETRIC.
    """
    chosen, sign, matrix = draw(tf.shape(images)[0], images.shape[1], images.shape[2], strength, seed, names)
    result = warp(images, matrix)
    for number, name in enumerate(names):
        if name in PHOTOMETRIC:
            own = PHOTOMETRIC[name](images, strength, _per_image(sign))
            result = tf.where(_per_image(chosen == number), own, result)
    return tf.clip_by_value(result, 0.0, 255.0)


def _per_image(values: tf.Tensor) -> tf.Tensor:
    return values[:, None, None, None]


def _towards(images: tf.Tensor, other: tf.Tensor, strength: float, sign: tf.Tensor) -> tf.Tensor:
    """Return images away from `other`, or towards it, by up to nine tenths, as PIL's enhancers do."""
    return other + (images - other) * (1 + 0.9 * strength * sign)


def _grey(images: tf.Tensor) -> tf.Tensor:
    return tf.image.rgb_to_grayscale(images) if images.shape[-1] == 3 else images


def _blurred(images: tf.Tensor) -> tf.Tensor:
    """Return images under the 3 x 3 kernel of PIL's sharpness: 1, but 5 in the middle, over 13."""
    weights = tf.constant([[1, 1, 1], [1, 5, 1], [1, 1, 1]], tf.float32)[:, :, None, None] / 13
    return tf.nn.depthwise_conv2d(images, tf.tile(weights, [1, 1, images.shape[-1], 1]), [1, 1, 1, 1], "SAME")


def _auto_contrast(images: tf.Tensor) -> tf.Tensor:
    low, high = (reduce(images, axis=(1, 2), keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
    return tf.where(high > low, (images - low) * 255 / tf.maximum(high - low, 1e-6), images)


def _equalized(images: tf.Tensor) -> tf.Tensor:
    """Return each channel with its values in equal shares: a pixel's rank among its channel's values, in 256 steps."""
    levels = tf.cast(tf.clip_by_value(images, 0.0, 255.0), tf.int32)
    count, height, width, channels = tf.shape(images)[0], images.shape[1], images.shape[2], images.shape[3]
    flat = tf.reshape(tf.transpose(levels, [0, 3, 1, 2]), [count * channels, height * width])
    rows = tf.range(count * channels)[:, None]
    counts = tf.math.unsorted_segment_sum(tf.ones_like(tf.reshape(flat, [-1]), tf.float32),
                                          tf.reshape(flat + 256 * rows, [-1]), 256 * count * channels)
    sums = tf.cumsum(tf.reshape(counts, [count * channels, 256]), axis=1)
    lowest = tf.gather(sums, tf.reduce_min(flat, axis=1), batch_dims=1)[:, None]
    scaled = (sums - lowest) * 255 / tf.maximum(height * width - lowest, 1.0)
    equal = tf.reshape(tf.gather(scaled, flat, batch_dims=1), [count, channels, height, width])
    return tf.transpose(equal, [0, 2, 3, 1])


#: Affine changes: signed strength (batch,), ones, zeros, height, width -> matrices.
#: Ranges as in the paper: 30 degrees, 0.3, a third.
GEOMETRIC: dict[str, Callable[..., tf.Tensor]] = {
    "identity": lambda s, one, zero, height, width: affine(one, zero, zero, one),
    "rotate": lambda s, one, zero, height, width: affine(
        tf.cos(s * math.pi / 6), -tf.sin(s * math.pi / 6), tf.sin(s * math.pi / 6), tf.cos(s * math.pi / 6)),
    "shear_x": lambda s, one, zero, height, width: affine(one, 0.3 * s, zero, one),
    "shear_y": lambda s, one, zero, height, width: affine(one, zero, 0.3 * s, one),
    "shift_x": lambda s, one, zero, height, width: affine(one, zero, zero, one, s * width / 3, zero),
    "shift_y": lambda s, one, zero, height, width: affine(one, zero, zero, one, zero, s * height / 3),
}
#: Changes of values: images, strength, sign (batch, 1, 1, 1) -> images.
PHOTOMETRIC: dict[str, Callable[..., tf.Tensor]] = {
    "auto_contrast": lambda x, strength, sign: _auto_contrast(x),
    "equalize": lambda x, strength, sign: _equalized(x),
    "solarize": lambda x, strength, sign: tf.where(x >= 256 * (1 - strength), 255 - x, x),
    "posterize": lambda x, strength, sign: tf.floor(x / 2 ** round(4 * strength)) * 2 ** round(4 * strength),
    "color": lambda x, strength, sign: _towards(x, _grey(x), strength, sign),
    "contrast": lambda x, strength, sign: _towards(
        x, tf.reduce_mean(_grey(x), axis=(1, 2, 3), keepdims=True), strength, sign),
    "brightness": lambda x, strength, sign: _towards(x, tf.zeros_like(x), strength, sign),
    "sharpness": lambda x, strength, sign: _towards(x, _blurred(x), strength, sign),
}
#: Changes that AugMix leaves out, because they are among the corruptions that it is measured on.
CORRUPTIONS = ("color", "contrast", "brightness", "sharpness")
