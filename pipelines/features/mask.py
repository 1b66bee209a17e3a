"""Masks: one class per pixel."""
from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import Field as Setting
from pydantic import field_validator

from export.signature import Tensor
from pipelines.features.feature import Feature, Field, Learnt
from pipelines.features.image import whole_pixels

with epy.lazy_imports():
    import numpy as np
    import PIL.Image
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The value of pixels of no class, as in PASCAL VOC and Cityscapes: one-hot they are all 0, and losses leave them out.
VOID = 255
#: Where a PNG file says how its pixels are written, and what it says where they are numbers of a palette.
COLOR_TYPE, PALETTE = 25, 3


class Mask(Feature, name="mask", shorthand="size"):
    """The class of every pixel, from a grey PNG whose values are the classes, or from an array (height, width) of them.

    The value 255 is no class.

    Args:
        size: pixels, one number for a square or [height, width]; the source's own where not given.
        classes: how many, where the source does not name them.
    """

    role, accepts = "mask", ("bytes", "array")
    size: tuple[int, int] | None = Setting(None)
    classes: int | None = Setting(None, ge=2, le=VOID)

    @field_validator("size", mode="before")
    @classmethod
    def read_size(cls, value: object) -> object:
        return None if value is None else whole_pixels(value)

    def learn(self, field: Field, values: Iterable[np.ndarray]) -> Learnt:
        names = field.names or [str(number) for number in range(self.classes or 2)]
        shape = list(self.size or (field.shape or (0, 0))[:2])
        return Learnt(names=names, statistics={"size": [float(side or 0) for side in shape]})

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="uint8", shape=_size(learnt), role="mask", meaning="the class of every pixel")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the classes of one mask, uint8 (height, width)."""
        mask = tf.io.decode_png(value, channels=1) if value.dtype == tf.string else tf.cast(value, tf.uint8)
        if mask.shape.rank == 2:
            mask = mask[..., None]
        if self.size is not None:
            mask = tf.image.resize(mask, self.size, method="nearest")
        return tf.ensure_shape(mask[..., 0], _size(learnt))

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        """Return why a mask cannot be read, or which class it has that there is not."""
        if isinstance(value, bytes):
            if not value:
                return "has an empty mask"
            if value[:4] == b"\x89PNG" and value[COLOR_TYPE:COLOR_TYPE + 1] == bytes([PALETTE]):
                return "has a mask with a palette; write the classes as grey values"
            try:
                value = tf.io.decode_png(tf.constant(value), channels=1).numpy()
            except tf.errors.OpError:
                return "has a mask that is truncated, damaged, or not a PNG"
        value = np.asarray(value)
        wrong = value[(value != VOID) & ((value < 0) | (value >= len(learnt.names)))]
        if wrong.size:
            count = len(learnt.names)
            return f"has a mask with the class {wrong[0]}, but there are {count} classes, 0 to {count - 1}"
        return None

    def prepare(self, values: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return masks (batch, height, width) one-hot, float32 (batch, height, width, classes)."""
        return tf.one_hot(tf.cast(values, tf.int32), len(learnt.names))

    def encode(self, value: np.ndarray) -> tuple[str, bytes]:
        """Return a mask (height, width) as a grey PNG file."""
        file = io.BytesIO()
        PIL.Image.fromarray(value.astype("uint8")).save(file, "PNG")
        return "png", file.getvalue()

    def counts(self, values: np.ndarray, learnt: Learnt) -> np.ndarray:
        """Return how many pixels each class has."""
        return np.bincount(np.ravel(values).astype(int), minlength=len(learnt.names))[:len(learnt.names)]

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        """Draw a mask (height, width), or one-hot (height, width, classes); a pixel of no class stays white."""
        classes = np.where(value.any(-1), value.argmax(-1), VOID) if value.ndim == 3 else value
        highest = max(1, len(learnt.names) - 1)
        axes.imshow(np.ma.masked_equal(classes, VOID), cmap="tab20", vmin=0, vmax=highest, interpolation="nearest")
        axes.axis("off")


def _size(learnt: Learnt) -> tuple[int | None, int | None]:
    height, width = (int(side) or None for side in learnt.statistics["size"])
    return height, width
