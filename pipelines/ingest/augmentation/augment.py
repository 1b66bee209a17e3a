"""Augmentation of a batch of examples, as recipe entries.

Every random number comes from a stateless seed made of (recipe seed, epoch, batch, entry), so that the same seed gives
the same examples, whatever was asked before, and an interrupted training goes on with exactly the examples it would
have had. That is why these are not Keras' preprocessing layers, which carry their random state with them.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

from etils import epy
from pydantic import Field

from pipelines.ingest.augmentation.augmentation import (
    Augmentation,
    Batch,
    ImageAugmentation,
    Roles,
    beta,
    first_image,
    needs_image,
    refuses_boxes,
    uniform,
)
from pipelines.ingest.augmentation.geometric import Geometric, moved
from pipelines.ingest.augmentation.mosaic import united

with epy.lazy_imports():
    import tensorflow as tf

#: The class of a pixel that is of none.
VOID = 255.0


class Cutout(ImageAugmentation, name="cutout", shorthand="share"):
    """A black square, its side `share` of the shorter side, anywhere in the image (DeVries & Taylor 2017)."""

    fits_boxes = False
    share: float = Field(0.3, gt=0, lt=1)

    def change(self, images, seed):
        count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
        half = self.share * min(height, width) / 2

        def outside(size, seed):
            centre = (uniform(count, seed) + 1) / 2 * size
            return tf.abs(tf.range(size, dtype=tf.float32)[None] + 0.5 - centre[:, None]) > half

        keep = outside(height, seed)[:, :, None] | outside(width, seed + 1)[:, None, :]
        return images * tf.cast(keep, images.dtype)[..., None]


class RandomErasing(ImageAugmentation, name="random_erasing", shorthand="share"):
    """A rectangle of noise in every second image, its area up to `share`, its sides up to 1 : 3 (Zhong et al. 2020)."""

    fits_boxes = False
    share: float = Field(0.2, gt=0, lt=1)

    def change(self, images, seed):
        count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
        area = (0.02 + (uniform(count, seed) + 1) / 2 * (self.share - 0.02)) * height * width
        ratio = tf.exp(uniform(count, seed + 1) * math.log(3.0))
        chosen = uniform(count, seed + 2) > 0

        def inside(size, side, seed):
            side = tf.minimum(side, float(size))
            start = (uniform(count, seed) + 1) / 2 * (size - side)
            centre = tf.range(size, dtype=tf.float32)[None] + 0.5
            return (centre >= start[:, None]) & (centre < (start + side)[:, None])

        rows = inside(height, tf.sqrt(area * ratio), seed + 3)
        columns = inside(width, tf.sqrt(area / ratio), seed + 4)
        erased = rows[:, :, None] & columns[:, None, :]
        noise = tf.random.stateless_uniform(tf.shape(images), seed + 5, 0.0, 255.0)
        return tf.where((erased & chosen[:, None, None])[..., None], noise, images)


class ColorJitter(ImageAugmentation, name="color_jitter", shorthand="strength"):
    """Brightness and contrast by up to `strength`, and in colour images the saturation too, in that order."""

    strength: float = Field(0.2, gt=0, lt=1)

    def change(self, images, seed):
        count = tf.shape(images)[0]
        brightness, contrast, saturation = (1 + uniform(count, seed + offset)[:, None, None, None] * self.strength
                                            for offset in range(3))
        images = images * brightness
        mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
        images = mean + (images - mean) * contrast
        if images.shape[-1] == 3:
            grey = tf.image.rgb_to_grayscale(images)
            images = grey + (images - grey) * saturation
        return tf.clip_by_value(images, 0.0, 255.0)


class Hsv(ImageAugmentation, name="hsv", shorthand="hue"):
    """Hue turned by up to `hue` of the circle, saturation and value times 1 - share to 1 + share; grey keeps its hue.

    Args:
        hue: 0.5 for any.
        saturation, value: shares.
    """

    hue: float = Field(0.015, ge=0, le=0.5)
    saturation: float = Field(0.7, ge=0, lt=1)
    value: float = Field(0.4, ge=0, lt=1)

    def change(self, images, seed):
        count = tf.shape(images)[0]
        turn, saturation, value = (uniform(count, seed + offset)[:, None, None] * share
                                   for offset, share in enumerate((self.hue, self.saturation, self.value)))
        if images.shape[-1] != 3:
            return tf.clip_by_value(images * (1 + value[..., None]), 0.0, 255.0)
        parts = tf.unstack(tf.image.rgb_to_hsv(images / 255), axis=-1)
        changed = [tf.math.floormod(parts[0] + turn, 1.0), tf.clip_by_value(parts[1] * (1 + saturation), 0.0, 1.0),
                   tf.clip_by_value(parts[2] * (1 + value), 0.0, 1.0)]
        return tf.image.hsv_to_rgb(tf.stack(changed, axis=-1)) * 255


class Mixing(Augmentation):
    """An augmentation that mixes each example with another of its batch."""

    mixes_targets = True
    fits_boxes = False

    def misfit(self, roles: Roles) -> str | None:
        whole = next((role for role in roles.values() if role in ("text", "tokens")), None)
        if whole:
            return f"{self.entry_name} mixes numbers, and {whole} cannot be mixed"
        return refuses_boxes(self, roles)


class CutMix(Mixing, name="cutmix", shorthand="alpha"):
    """A rectangle out of another image of the batch, and as much of its target (Yun et al. 2019).

    The share is drawn from Beta(alpha, alpha). Masks get the same rectangle.
    """

    alpha: float = Field(1.0, gt=0)

    def apply(self, batch, seed, roles):
        count = tf.shape(first_image(batch, roles))[0]
        side = tf.sqrt(1 - beta(count, self.alpha, seed))
        partner = tf.random.experimental.stateless_shuffle(tf.range(count), seed + 2)

        def inside(size, seed):
            centre, half = (uniform(count, seed) + 1) / 2 * size, side * size / 2
            return tf.abs(tf.range(size, dtype=tf.float32)[None] + 0.5 - centre[:, None]) < half[:, None]

        def rectangle(pixels):
            height, width = pixels.shape[1], pixels.shape[2]
            return tf.cast(inside(height, seed + 3)[:, :, None] & inside(width, seed + 4)[:, None, :], pixels.dtype)

        share = 1 - tf.reduce_mean(rectangle(first_image(batch, roles)), axis=(1, 2))

        def mixed(values, role):
            if role in ("image", "mask"):
                other = rectangle(values)[..., None]
                return values * (1 - other) + tf.gather(values, partner) * other
            return mixture(values, partner, share)

        return {name: mixed(values, roles[name]) for name, values in batch.items()}

    def misfit(self, roles: Roles) -> str | None:
        return super().misfit(roles) or needs_image(self, roles)


#: Of mixup where it is not given: without boxes, and with them.
MIXUP_ALPHA = (0.2, 1.5)


class Mixup(Mixing, name="mixup", shorthand="alpha"):
    """Inputs and targets mixed with another's, in a share of Beta(alpha, alpha): by default 0.2, with boxes 1.5.

    0.2 is from Zhang et al., "mixup", 2018. An image with boxes has those of both (Zhang et al., "Bag of Freebies for
    Training Object Detection Neural Networks", 2019), unless they are more than one example holds: then it stays as it
    is. Both must be seen, so the share is near a half more often than where classes are mixed.
    """

    fits_boxes = True
    alpha: float | None = Field(None, gt=0)

    def apply(self, batch, seed, roles):
        count = tf.shape(next(iter(batch.values())))[0]
        share = beta(count, self.alpha or MIXUP_ALPHA[any(roles[name] == "boxes" for name in batch)], seed)
        partner = tf.random.experimental.stateless_shuffle(tf.range(count), seed + 2)
        boxes = {name: united([values, tf.gather(values, partner)]) for name, values in batch.items()
                 if roles[name] == "boxes"}
        for _, fit in boxes.values():
            share = tf.where(fit, share, 1.0)
        return {name: tf.where(boxes[name][1][:, None, None], boxes[name][0], values) if name in boxes
                else mixture(values, partner, share) for name, values in batch.items()}


def augment(entries: Sequence[Augmentation], inputs: Batch, targets: Batch, roles: Roles,
            seed: tf.Tensor) -> tuple[Batch, Batch]:
    """Apply the entries in their order.

    Neighbours that move pixels become one map, so that an image is interpolated once; of these the last is the first
    to move it.

    Args:
        entries: the recipe's list.
        inputs, targets: a batch, prepared by its features; images may be of any type.
        roles: of each input and target.
        seed: two int32 numbers; the same seed gives the same result.

    Returns:
        Inputs and targets, changed; images are float32 0..255.
    """
    batch = {name: tf.cast(values, tf.float32) if roles[name] == "image" else values
             for name, values in (inputs | targets).items()}
    # A mask that is an input has a class in each pixel, not one-hot: in these numbers 0 is no class, as outside.
    classes = [name for name, values in inputs.items() if roles[name] == "mask" and values.shape.rank == 3]
    batch |= {name: batch[name][..., None] - VOID for name in classes}
    pending = None
    for number, entry in enumerate(entries):
        entry_seed = seed + 1000 * (number + 1)
        if isinstance(entry, Geometric):
            images = first_image(batch, roles)
            matrix = entry.matrix(tf.shape(images)[0], images.shape[1], images.shape[2], entry_seed)
            pending = matrix if pending is None else tf.matmul(matrix, pending)
            continue
        if pending is not None:
            batch, pending = moved(batch, roles, pending), None
        batch = entry.apply(batch, entry_seed, roles)
    if pending is not None:
        batch = moved(batch, roles, pending)
    batch |= {name: batch[name][..., 0] + VOID for name in classes}
    return {name: batch[name] for name in inputs}, {name: batch[name] for name in targets}


def mixture(values: tf.Tensor, partner: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Return values (batch, …) mixed with those at `partner` (batch,), of which there is 1 - share (batch,)."""
    weight = tf.reshape(share, [-1] + [1] * (values.shape.rank - 1))
    return weight * values + (1 - weight) * tf.gather(values, partner)
