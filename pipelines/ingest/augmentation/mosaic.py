"""Four images in one."""
from __future__ import annotations

from collections.abc import Sequence

from etils import epy
from pydantic import Field

from export.signature import Role
from pipelines.ingest.augmentation.augmentation import Augmentation, Batch, Roles, first_image, uniform
from pipelines.ingest.augmentation.geometric import NO_BOX, affine, moved_boxes, warp

with epy.lazy_imports():
    import tensorflow as tf

#: Where the four meet, as shares of the image.
NEAREST, FARTHEST = 0.25, 0.75
#: What is below and right of the place where they meet, for each of the four.
QUARTERS = ((0, 0), (0, 1), (1, 0), (1, 1))
#: What a row of boxes holds for the class, see `features.boxes`.
CLASS = 4


class Mosaic(Augmentation, name="mosaic", shorthand="share"):
    """An image and three others of its batch around a place near the middle, each with its boxes (Bochkovskiy et al.,
    "YOLOv4", 2020, section 3.3).

    Where the four have more boxes than one example holds, the image stays as it is.

    Args:
        share: of the images that become one of four.
        smallest: scale of an image, at least; at most it is 1.
    """

    share: float = Field(0.5, gt=0, le=1)
    smallest: float = Field(0.5, gt=0, le=1)

    def apply(self, batch: Batch, seed: tf.Tensor, roles: Roles) -> Batch:
        images = first_image(batch, roles)
        count, (height, width) = tf.shape(images)[0], images.shape[1:3]
        meet = tf.stack([NEAREST + (FARTHEST - NEAREST) * (uniform(count, seed + offset) + 1) / 2
                         for offset in (0, 1)], axis=1)
        scale = self.smallest + (1 - self.smallest) * (uniform(count, seed + 2) + 1) / 2
        parts = []
        for number, quarter in enumerate(QUARTERS):
            other = tf.range(count)
            if number:
                other = tf.random.experimental.stateless_shuffle(other, seed + 2 + number)
            parts.append(self._quarter({name: tf.gather(values, other) for name, values in batch.items()}, roles, meet,
                                       scale, quarter, (height, width)))
        chosen = uniform(count, seed + 7) < 2 * self.share - 1
        made = {}
        for name in batch:
            if roles[name] == "boxes":
                made[name], fit = united([part[name] for part in parts])
                chosen &= fit
            elif roles[name] in ("image", "mask"):
                made[name] = tf.add_n([part[name] for part in parts])
        return {name: tf.where(tf.reshape(chosen, [-1] + [1] * (values.shape.rank - 1)), made[name], values)
                if name in made else values for name, values in batch.items()}

    def misfit(self, roles: Roles) -> str | None:
        if "image" not in roles.values():
            return "mosaic changes images, and an example has none"
        other = next((name for name, role in roles.items() if role not in ("image", "mask", "boxes")), None)
        return f"mosaic puts four images into one, which have no {other} together; leave it out" if other else None

    def _quarter(self, batch: Batch, roles: Roles, meet: tf.Tensor, scale: tf.Tensor, quarter: tuple[int, int],
                 size: tuple[int, int]) -> Batch:
        """Return what one quarter holds: 0 outside, and boxes cut to it."""
        sides = tf.constant(size, tf.float32)
        at = meet * sides
        below = tf.constant(quarter, tf.float32)
        # the image's corner that is towards the middle comes to where the four meet
        shift = (sides / 2 - at) / scale[:, None] + sides * (0.5 - below)
        zero = tf.zeros_like(scale)
        matrix = affine(1 / scale, zero, zero, 1 / scale, shift[:, 1], shift[:, 0])
        low, high = at * below, at * (1 - below) + sides * below
        window = tf.concat([low, high], axis=1)

        def changed(values: tf.Tensor, role: Role) -> tf.Tensor:
            if role == "boxes":
                return moved_boxes(values, matrix, *size, window)
            if role not in ("image", "mask"):
                return values
            share = tf.constant([values.shape[2] / size[1], values.shape[1] / size[0], 1.0], tf.float32)
            how = "BILINEAR" if role == "image" else "NEAREST"
            placed = warp(values, matrix * share[:, None] / share[None, :], how)
            return placed * _inside(window / tf.tile(sides, [2]), values.shape[1], values.shape[2])

        return {name: changed(values, roles[name]) for name, values in batch.items()}


def united(parts: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the boxes of several examples as those of one, (batch, most, …), and whether all fit, (batch,).

    Args:
        parts: (batch, most, 6 or more) each, see `features.boxes`.
    """
    rows, most = tf.concat(parts, axis=1), parts[0].shape[1]
    there = rows[..., CLASS] >= 0
    first = tf.argsort(tf.cast(~there, tf.int32), axis=1, stable=True)[:, :most]
    kept = tf.gather(rows, first, axis=1, batch_dims=1)
    kept = tf.where(kept[..., CLASS:CLASS + 1] >= 0, kept, NO_BOX)
    return kept, tf.reduce_sum(tf.cast(there, tf.int32), axis=1) <= most


def _inside(window: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Return 1 for pixels whose centre is in a window of shares, else 0: (batch, height, width, 1)."""
    y = (tf.range(height, dtype=tf.float32) + 0.5) / height
    x = (tf.range(width, dtype=tf.float32) + 0.5) / width
    rows = (y >= window[:, :1]) & (y < window[:, 2:3])
    columns = (x >= window[:, 1:2]) & (x < window[:, 3:])
    return tf.cast(rows[:, :, None] & columns[:, None], tf.float32)[..., None]
