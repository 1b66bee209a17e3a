"""Augmentations that move pixels, of images and of masks alike."""
from __future__ import annotations

import math
from collections.abc import Collection

from etils import epy
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from export.signature import Role
from pipelines.ingest.augmentation.augmentation import Augmentation, Batch, Roles, first_image, uniform

with epy.lazy_imports():
    import tensorflow as tf


#: What is left of a box at least, as a share of it and in pixels, and what a row holds that has none.
KEPT, SMALLEST, NO_BOX = 0.4, 4.0, -1.0
#: Numbers of a key point behind a box, see `features.boxes`.
POINT = 4


class Geometric(Augmentation):
    """An augmentation that moves pixels of images and of masks, and boxes, by an affine map.

    Neighbours in the recipe's list become one map: one interpolation.
    """

    def matrix(self, count: tf.Tensor, height: int, width: int, seed: tf.Tensor) -> tf.Tensor:
        """Return (count, 3, 3) maps from output to input pixel positions, about the image's centre."""
        raise NotImplementedError

    def apply(self, batch: Batch, seed: tf.Tensor, roles: Roles) -> Batch:
        images = first_image(batch, roles)
        return moved(batch, roles, self.matrix(tf.shape(images)[0], images.shape[1], images.shape[2], seed))


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
    """A mirror image, for every second image."""

    axis: str = Field("horizontal", pattern="^(horizontal|vertical)$")

    def matrix(self, count, height, width, seed):
        zero, one = tf.zeros([count]), tf.ones([count])
        mirrored = tf.where(uniform(count, seed) < 0, -one, one)
        return affine(mirrored, zero, zero, one) if self.axis == "horizontal" else affine(one, zero, zero, mirrored)


class Crop(Geometric, name="crop", shorthand="padding"):
    """A crop of the image's size out of the image padded by whole pixels on each side (He et al. 2016, section 4.2)."""

    padding: int = Field(4, ge=1)

    def matrix(self, count, height, width, seed):
        one, zero = tf.ones([count]), tf.zeros([count])
        return affine(one, zero, zero, one, tf.round(uniform(count, seed) * self.padding),
                       tf.round(uniform(count, seed + 1) * self.padding))


class ResizedCrop(Geometric, name="resized_crop", shorthand="smallest"):
    """A part of the image enlarged to all of it, from an area of `smallest` up (Szegedy et al. 2015, section 6).

    Its sides are 3 : 4 to 4 : 3 of the image's.
    """

    smallest: float = Field(0.08, gt=0, le=1)

    def matrix(self, count, height, width, seed):
        area = self.smallest + (1 - self.smallest) * (uniform(count, seed) + 1) / 2
        ratio = tf.exp(uniform(count, seed + 1) * math.log(4 / 3))
        across, down = tf.minimum(tf.sqrt(area * ratio), 1.0), tf.minimum(tf.sqrt(area / ratio), 1.0)
        zero = tf.zeros([count])
        return affine(across, zero, zero, down, uniform(count, seed + 2) * (1 - across) * width / 2,
                       uniform(count, seed + 3) * (1 - down) * height / 2)


class Affine(Geometric, name="affine"):
    """A rotation, a shear, a scale and a shift at once, as YOLO's trainings have them.

    Args:
        degrees: of the rotation, at most either way.
        shear: degrees, at most either way, along each axis.
        scale: of the enlargement or reduction, at most.
        shift: shares of the image's height and width, at most either way, whatever the scale: the image is shifted
            last.
    """

    degrees: float = Field(0.0, ge=0, le=180)
    shear: float = Field(0.0, ge=0, lt=45)
    scale: float = Field(0.5, ge=0, lt=1)
    shift: float = Field(0.1, ge=0, lt=1)

    def matrix(self, count, height, width, seed):
        angle, across, down = (uniform(count, seed + offset) * (limit * math.pi / 180)
                               for offset, limit in enumerate((self.degrees, self.shear, self.shear)))
        scale = 1 / (1 + uniform(count, seed + 3) * self.scale)
        cosine, sine, zero, one = tf.cos(angle) * scale, tf.sin(angle) * scale, tf.zeros([count]), tf.ones([count])
        turned = tf.matmul(affine(cosine, -sine, sine, cosine), affine(one, tf.tan(across), tf.tan(down), one))
        # from output to input positions: what the image undergoes last comes first
        return tf.matmul(turned, affine(one, zero, zero, one, uniform(count, seed + 4) * self.shift * width,
                                        uniform(count, seed + 5) * self.shift * height))


class ScaleJitter(Geometric, name="scale_jitter"):
    """The image at another scale: a part of it where it is larger than before, with black beside it where it is
    smaller, anywhere (Ghiasi et al., "Simple Copy-Paste", 2021, large scale jittering).

    It shows a model of one size things at many.

    Args:
        smallest, largest: scales.
    """

    smallest: float = Field(0.5, gt=0)
    largest: float = Field(2.0, gt=0)

    @model_validator(mode="after")
    def must_be_in_order(self) -> ScaleJitter:
        if self.smallest > self.largest:
            raise PydanticCustomError("scales", "smallest is at most largest")
        return self

    def matrix(self, count, height, width, seed):
        scale = self.smallest + (self.largest - self.smallest) * (uniform(count, seed) + 1) / 2
        inverse, zero = 1 / scale, tf.zeros([count])
        free = tf.abs(1 - inverse) / 2  # as far as the image can go, or be cut, on either side
        return affine(inverse, zero, zero, inverse, uniform(count, seed + 1) * free * width,
                      uniform(count, seed + 2) * free * height)


def moved(batch: Batch, roles: Roles, matrix: tf.Tensor,
          moving: Collection[Role] = ("image", "mask", "boxes")) -> Batch:
    """Return a batch whose images, masks and boxes are under affine maps.

    What comes from outside is black in an image, and of no class in a mask. A box becomes the one around its four
    corners, cut to the image; where less than `KEPT` of it is left, it is none any more.

    Args:
        matrix: (batch, 3, 3), about the centre, in pixels of the first image.
        moving: the roles of what is to move.
    """
    height, width = first_image(batch, roles).shape[1:3]

    def scaled(values: tf.Tensor) -> tf.Tensor:
        if (values.shape[1], values.shape[2]) == (height, width):
            return matrix
        scale = tf.constant([values.shape[2] / width, values.shape[1] / height, 1.0], tf.float32)
        return matrix * scale[:, None] / scale[None, :]

    interpolations = {"image": "BILINEAR", "mask": "NEAREST"}

    def changed(values: tf.Tensor, role: Role) -> tf.Tensor:
        if role == "boxes":
            return moved_boxes(values, matrix, height, width)
        return warp(values, scaled(values), interpolations[role])

    return {name: changed(values, roles[name]) if roles[name] in moving else values for name, values in batch.items()}


def moved_boxes(rows: tf.Tensor, matrix: tf.Tensor, height: int, width: int,
                window: tf.Tensor | None = None) -> tf.Tensor:
    """Return boxes, and their key points, under affine maps.

    Args:
        rows: (batch, most, 6 or more), see `features.boxes`.
        matrix: (batch, 3, 3), from output to input positions in pixels about the centre.
        height, width: of the image in pixels.
        window: (batch, 4), ymin, xmin, ymax, xmax in pixels, what is seen of it; all where not given.
    """
    size = tf.constant([height, width, height, width], tf.float32)
    sides = rows[..., :4] * size
    across, down = tf.stack([sides[..., 1], sides[..., 3]], -1), tf.stack([sides[..., 0], sides[..., 2]], -1)
    corners = tf.stack([tf.gather(across, [0, 1, 0, 1], axis=-1) - width / 2,
                        tf.gather(down, [0, 0, 1, 1], axis=-1) - height / 2,
                        tf.ones_like(tf.gather(across, [0, 1, 0, 1], axis=-1))], axis=-2)
    placed = tf.einsum("bij,bmjc->bmic", tf.linalg.inv(matrix), corners)
    x, y = placed[:, :, 0] + width / 2, placed[:, :, 1] + height / 2
    whole = tf.stack([tf.reduce_min(y, -1), tf.reduce_min(x, -1), tf.reduce_max(y, -1), tf.reduce_max(x, -1)], -1)
    low, high = (tf.zeros([2]), size[:2]) if window is None else (window[:, None, :2], window[:, None, 2:])
    cut = tf.concat([tf.clip_by_value(part, low, high) for part in (whole[..., :2], whole[..., 2:])], axis=-1)

    def area(boxes: tf.Tensor) -> tf.Tensor:
        return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])

    # what is left of a crowd is a crowd
    enough = (area(cut) >= KEPT * area(whole)) | (rows[..., 5] > 0.5)
    stays = (rows[..., 4] >= 0) & enough & (area(cut) >= SMALLEST)
    points = _moved_points(rows[..., 6:], matrix, height, width)
    return tf.where(stays[..., None], tf.concat([cut / size, rows[..., 4:6], points], axis=-1), NO_BOX)


def _moved_points(rows: tf.Tensor, matrix: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Return key points under affine maps; those that are outside the image stay marked. In a mirror image left and
    right ones change places.

    Args:
        rows: (batch, most, 4 * points): y, x, whether it is marked, and the place of its mirrored one.
    """
    if not rows.shape[-1]:
        return rows
    points = tf.reshape(rows, (-1, rows.shape[1], rows.shape[2] // POINT, POINT))
    places = tf.stack([points[..., 1] * width - width / 2, points[..., 0] * height - height / 2,
                       tf.ones_like(points[..., 0])], axis=-1)
    placed = tf.einsum("bij,bmpj->bmpi", tf.linalg.inv(matrix), places)
    put = tf.concat([placed[..., 1:2] / height + 0.5, placed[..., :1] / width + 0.5, points[..., 2:]], axis=-1)
    other = tf.gather(put, tf.maximum(tf.cast(points[..., 3], tf.int32), 0), axis=2, batch_dims=2)
    # each keeps what it says of its mirrored one
    other = tf.concat([other[..., :3], points[..., 3:]], axis=-1)
    is_mirrored = tf.linalg.det(matrix) < 0
    return tf.reshape(tf.where(is_mirrored[:, None, None, None], other, put), tf.shape(rows))


def warp(images: tf.Tensor, matrix: tf.Tensor, interpolation: str = "BILINEAR") -> tf.Tensor:
    """Return images under affine maps (batch, 3, 3) about their centre; what comes from outside is 0."""
    height, width = images.shape[1], images.shape[2]
    to_centre = tf.constant([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1]], tf.float32)
    back = tf.constant([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]], tf.float32)
    rows = tf.reshape(back @ matrix @ to_centre, [-1, 9])[:, :8]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images, transforms=rows, output_shape=[height, width], fill_value=0.0, interpolation=interpolation,
        fill_mode="CONSTANT")


def affine(a, b, c, d, x=None, y=None) -> tf.Tensor:
    """Return maps [[a, b, x], [c, d, y], [0, 0, 1]], each argument (batch,)."""
    zero, one = tf.zeros_like(a), tf.ones_like(a)
    flat = [a, b, zero if x is None else x, c, d, zero if y is None else y, zero, zero, one]
    return tf.reshape(tf.stack(flat, axis=1), [-1, 3, 3])
