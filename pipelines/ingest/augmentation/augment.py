"""Augmentation of a batch of pictures, as recipe entries.

Every random number comes from a stateless seed made of (recipe seed, epoch, batch, entry), so that the same seed gives the same
pictures, whatever was asked before, and an interrupted training goes on with exactly the pictures it would have had. That is why
these are not Keras' preprocessing layers, which carry their random state with them.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

from etils import epy
from pydantic import Field

from pipelines.entries import Entry

with epy.lazy_imports():
    import tensorflow as tf


class Augmentation(Entry):
    """A random change of training pictures (batch, height, width, channels), float32 0..255, and their one-hot targets."""

    def apply(self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The changed pictures and targets. `seed` is two int32 numbers."""
        raise NotImplementedError


class Geometric(Augmentation):
    """An augmentation that moves pixels by an affine map. Neighbours in the recipe's list become one map: one interpolation."""

    def matrix(self, count: tf.Tensor, height: int, width: int, seed: tf.Tensor) -> tf.Tensor:
        """(count, 3, 3) maps from output to input pixel positions, about the picture's centre."""
        raise NotImplementedError

    def apply(self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return warp(images, self.matrix(tf.shape(images)[0], images.shape[1], images.shape[2], seed)), targets


class Rotate(Geometric, name="rotate", shorthand="degrees"):
    """A rotation by an angle between -degrees and degrees."""

    degrees: float = Field(15, gt=0, le=180)

    def matrix(self, count, height, width, seed):
        angle = uniform(count, seed) * (self.degrees * math.pi / 180)
        return affine(tf.cos(angle), -tf.sin(angle), tf.sin(angle), tf.cos(angle))


class Shift(Geometric, name="shift", shorthand="share"):
    """A shift of up to `share` of the height and of the width."""

    share: float = Field(0.1, gt=0, lt=1)

    def matrix(self, count, height, width, seed):
        one, zero = tf.ones([count]), tf.zeros([count])
        return affine(one, zero, zero, one, uniform(count, seed) * self.share * width,
                       uniform(count, seed + 1) * self.share * height)


class Zoom(Geometric, name="zoom", shorthand="share"):
    """An enlargement or reduction by up to `share`."""

    share: float = Field(0.1, gt=0, lt=1)

    def matrix(self, count, height, width, seed):
        scale = 1 + uniform(count, seed) * self.share
        return affine(scale, tf.zeros([count]), tf.zeros([count]), scale)


class Flip(Geometric, name="flip", shorthand="axis"):
    """A mirror image, for every second picture."""

    axis: str = Field("horizontal", pattern="^(horizontal|vertical)$")

    def matrix(self, count, height, width, seed):
        mirrored, zero, one = tf.sign(uniform(count, seed)), tf.zeros([count]), tf.ones([count])
        return affine(mirrored, zero, zero, one) if self.axis == "horizontal" else affine(one, zero, zero, mirrored)


class Crop(Geometric, name="crop", shorthand="padding"):
    """A crop of the picture's size out of the picture padded by whole pixels on each side (He et al. 2016, section 4.2)."""

    padding: int = Field(4, ge=1)

    def matrix(self, count, height, width, seed):
        one, zero = tf.ones([count]), tf.zeros([count])
        return affine(one, zero, zero, one, tf.round(uniform(count, seed) * self.padding),
                       tf.round(uniform(count, seed + 1) * self.padding))


class ResizedCrop(Geometric, name="resized_crop", shorthand="smallest"):
    """A part of the picture enlarged to all of it: of an area from `smallest` up, 3 : 4 to 4 : 3 (Szegedy et al. 2015, section 6)."""

    smallest: float = Field(0.08, gt=0, le=1)

    def matrix(self, count, height, width, seed):
        area = self.smallest + (1 - self.smallest) * (uniform(count, seed) + 1) / 2
        ratio = tf.exp(uniform(count, seed + 1) * math.log(4 / 3))
        across, down = tf.minimum(tf.sqrt(area * ratio), 1.0), tf.minimum(tf.sqrt(area / ratio), 1.0)
        zero = tf.zeros([count])
        return affine(across, zero, zero, down, uniform(count, seed + 2) * (1 - across) * width / 2,
                       uniform(count, seed + 3) * (1 - down) * height / 2)


class Cutout(Augmentation, name="cutout", shorthand="share"):
    """A black square, its side `share` of the shorter side, anywhere in the picture (DeVries & Taylor 2017)."""

    share: float = Field(0.3, gt=0, lt=1)

    def apply(self, images, targets, seed):
        count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
        half = self.share * min(height, width) / 2

        def outside(size, seed):
            centre = (uniform(count, seed) + 1) / 2 * size
            return tf.abs(tf.range(size, dtype=tf.float32)[None] + 0.5 - centre[:, None]) > half

        keep = outside(height, seed)[:, :, None] | outside(width, seed + 1)[:, None, :]
        return images * tf.cast(keep, images.dtype)[..., None], targets


class RandomErasing(Augmentation, name="random_erasing", shorthand="share"):
    """A rectangle of noise in every second picture, its area up to `share`, its sides up to 1 : 3 (Zhong et al. 2020)."""

    share: float = Field(0.2, gt=0, lt=1)

    def apply(self, images, targets, seed):
        count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
        area = (0.02 + (uniform(count, seed) + 1) / 2 * (self.share - 0.02)) * height * width
        ratio = tf.exp(uniform(count, seed + 1) * math.log(3.0))
        chosen = uniform(count, seed + 2) > 0

        def inside(size, side, seed):
            side = tf.minimum(side, float(size))
            start = (uniform(count, seed) + 1) / 2 * (size - side)
            place = tf.range(size, dtype=tf.float32)[None] + 0.5
            return (place >= start[:, None]) & (place < (start + side)[:, None])

        erased = inside(height, tf.sqrt(area * ratio), seed + 3)[:, :, None] & inside(width, tf.sqrt(area / ratio), seed + 4)[:, None, :]
        noise = tf.random.stateless_uniform(tf.shape(images), seed + 5, 0.0, 255.0)
        return tf.where((erased & chosen[:, None, None])[..., None], noise, images), targets


class CutMix(Augmentation, name="cutmix", shorthand="alpha"):
    """A rectangle out of another picture of the batch, and as much of its target, in a share from Beta(alpha, alpha) (Yun et al. 2019)."""

    alpha: float = Field(1.0, gt=0)

    def apply(self, images, targets, seed):
        count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
        side = tf.sqrt(1 - beta(count, self.alpha, seed))
        partner = tf.random.experimental.stateless_shuffle(tf.range(count), seed + 2)

        def inside(size, seed):
            centre, half = (uniform(count, seed) + 1) / 2 * size, side * size / 2
            return tf.abs(tf.range(size, dtype=tf.float32)[None] + 0.5 - centre[:, None]) < half[:, None]

        other = tf.cast(inside(height, seed + 3)[:, :, None] & inside(width, seed + 4)[:, None, :], images.dtype)
        share = 1 - tf.reduce_mean(other, axis=(1, 2))[:, None]
        mixed = images * (1 - other[..., None]) + tf.gather(images, partner) * other[..., None]
        return mixed, share * targets + (1 - share) * tf.gather(targets, partner)


class ColorJitter(Augmentation, name="color_jitter", shorthand="strength"):
    """Brightness and contrast by up to `strength`, and in colour pictures the saturation too, in that order."""

    strength: float = Field(0.2, gt=0, lt=1)

    def apply(self, images, targets, seed):
        count = tf.shape(images)[0]
        brightness, contrast, saturation = (1 + uniform(count, seed + offset)[:, None, None, None] * self.strength for offset in range(3))
        images = images * brightness
        mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
        images = mean + (images - mean) * contrast
        if images.shape[-1] == 3:
            grey = tf.image.rgb_to_grayscale(images)
            images = grey + (images - grey) * saturation
        return tf.clip_by_value(images, 0.0, 255.0), targets


class Mixup(Augmentation, name="mixup", shorthand="alpha"):
    """Pictures and targets mixed with another of the batch, in a share drawn from Beta(alpha, alpha) (Zhang et al. 2018)."""

    alpha: float = Field(0.2, gt=0)

    def apply(self, images, targets, seed):
        count = tf.shape(images)[0]
        share = beta(count, self.alpha, seed)
        partner = tf.random.experimental.stateless_shuffle(tf.range(count), seed + 2)

        def mix(values):
            weight = tf.reshape(share, [-1] + [1] * (values.shape.rank - 1))
            return weight * values + (1 - weight) * tf.gather(values, partner)

        return mix(images), mix(targets)


def augment(entries: Sequence[Augmentation], images: tf.Tensor, targets: tf.Tensor,
            seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Applies the entries in their order.

    Args:
        entries: the recipe's list.
        images: (batch, height, width, channels), 0..255.
        targets: (batch, classes), one-hot.
        seed: two int32 numbers; the same seed gives the same result.

    Returns:
        Pictures as float32 0..255 and targets as float32.
    """
    images, targets = tf.cast(images, tf.float32), tf.cast(targets, tf.float32)
    pending = None
    for number, entry in enumerate(entries):
        own_seed = seed + 1000 * (number + 1)
        if isinstance(entry, Geometric):
            matrix = entry.matrix(tf.shape(images)[0], images.shape[1], images.shape[2], own_seed)
            pending = matrix if pending is None else tf.matmul(matrix, pending)
            continue
        if pending is not None:
            images, pending = warp(images, pending), None
        images, targets = entry.apply(images, targets, own_seed)
    return (images if pending is None else warp(images, pending)), targets


def warp(images: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """Pictures under affine maps (batch, 3, 3) about their centre, bilinear; what comes from outside is black."""
    height, width = images.shape[1], images.shape[2]
    to_centre = tf.constant([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1]], tf.float32)
    back = tf.constant([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]], tf.float32)
    rows = tf.reshape(back @ matrix @ to_centre, [-1, 9])[:, :8]
    return tf.raw_ops.ImageProjectiveTransformV3(images=images, transforms=rows, output_shape=[height, width], fill_value=0.0,
                                                 interpolation="BILINEAR", fill_mode="CONSTANT")


def uniform(count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform([count], seed, -1.0, 1.0)


def beta(count: tf.Tensor, alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """Draws from Beta(alpha, alpha), as the share of one Gamma draw in the sum of two."""
    first, second = (tf.random.stateless_gamma([count], seed + offset, alpha=alpha) + 1e-20 for offset in (0, 1))
    return first / (first + second)


def affine(a, b, c, d, x=None, y=None) -> tf.Tensor:
    zero, one = tf.zeros_like(a), tf.ones_like(a)
    flat = [a, b, zero if x is None else x, c, d, zero if y is None else y, zero, zero, one]
    return tf.reshape(tf.stack(flat, axis=1), [-1, 3, 3])
