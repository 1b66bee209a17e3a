"""Instances: which thing each pixel belongs to."""
from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import Field as Setting
from pydantic import field_validator

from export.signature import Tensor
from pipelines.features.feature import Feature, Field, Learnt
from pipelines.features.image import Image, Size, whole_pixels
from pipelines.figures import segmentation

with epy.lazy_imports():
    import numpy as np
    import PIL.Image
    import scipy.ndimage
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Channels of what a model learns: whether a pixel is of a thing, and how far it is inside.
INSIDE, DISTANCE = range(2)
CHANNELS = 2


class Instances(Feature, name="instances", shorthand="size"):
    """The number of the thing that each pixel belongs to, out of a PNG, a TIFF or an array (height, width); 0 is none.

    Args:
        size: pixels, one number for a square or [height, width]; the image's where not given.
    """

    role, accepts = "mask", ("bytes", "array")
    size: tuple[int, int] | None = Setting(None)

    @field_validator("size", mode="before", json_schema_input_type=Size | None)
    @classmethod
    def read_size(cls, value: object) -> object:
        return None if value is None else whole_pixels(value)

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        """Return the instances brought to the size of the image, where there is one."""
        images = [other for other in others.values() if isinstance(other, Image)]
        return self.model_copy(update={"size": self.size or images[0].size}) if len(images) == 1 else self

    def learn(self, field: Field, values: Iterable[np.ndarray]) -> Learnt:
        shape = self.size or (field.shape or (0, 0))[:2]
        return Learnt(statistics={"size": [float(side or 0) for side in shape]})

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="int32", shape=_size(learnt), role="mask",
                      meaning="the number of the thing that each pixel belongs to; 0: none")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the numbers of one example, int32 (height, width)."""
        if value.dtype == tf.string:
            value = tf.numpy_function(_numbers, [value], tf.int32, stateful=False)
            value.set_shape([None, None])
        numbers = tf.cast(value, tf.int32)
        if self.size is not None:
            numbers = tf.image.resize(numbers[..., None], self.size, method="nearest")[..., 0]
        return tf.ensure_shape(numbers, _size(learnt))

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        """Return why instances cannot be read."""
        if not isinstance(value, bytes):
            return "has a number of an instance below 0" if np.min(value, initial=0) < 0 else None
        try:
            _numbers(value)
        except ValueError as error:
            return str(error)
        return None

    def prepare(self, values: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return what a model learns of a batch, float32 (batch, height, width, 2): 1 where a pixel is of a thing, and
        how far it is inside, see `distances`."""
        prepared = tf.numpy_function(prepared_of, [values], tf.float32, stateful=False)
        return tf.ensure_shape(prepared, (*values.shape, CHANNELS))

    def encode(self, value: np.ndarray) -> tuple[str, bytes]:
        """Return numbers (height, width) as a grey PNG file of 16 bits, those above 65,535 as others."""
        file = io.BytesIO()
        kept = value if value.max(initial=0) < 2**16 else renumbered(value)
        PIL.Image.fromarray(kept.astype("uint16")).save(file, "PNG")
        return "png", file.getvalue()

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        """Draw each thing in a colour over what is on the axes; of what a model learns, how far pixels are inside."""
        if value.ndim == 3:
            axes.imshow(value[..., DISTANCE], vmin=0, vmax=1, alpha=0.6)
            axes.axis("off")
        else:
            segmentation.instances(axes, value)

    def in_words(self, value: np.ndarray, learnt: Learnt) -> str:
        return f"{count(value)} instances" if value.ndim == 2 else ""


def count(numbers: np.ndarray) -> int:
    """Return how many things there are, (height, width)."""
    return len(np.unique(numbers[numbers > 0]))


def renumbered(numbers: np.ndarray) -> np.ndarray:
    """Return numbers of things, (height, width), as 1, 2, 3 and so on, in the same order; 0 is none."""
    return np.searchsorted(np.unique(numbers[numbers > 0]), numbers, side="right")


def prepared_of(numbers: np.ndarray) -> np.ndarray:
    """Return, for numbers (batch, height, width), which pixels are of a thing and how far they are inside, float32
    (batch, height, width, 2)."""
    return np.stack([numbers > 0, np.array([distances(one) for one in numbers])], -1).astype("float32")


def distances(numbers: np.ndarray) -> np.ndarray:
    """Return how far each pixel is from the outside of its thing, as a share of the farthest that any of it is, float32
    (height, width): 1 in the middle, 0 where there is no thing.

    So things of all sizes look alike, and where two touch there is a valley between them (Naylor et al., "Segmentation
    of Nuclei in Histopathology Images by Deep Regression of the Distance Map", 2019). The border of the image counts
    as outside.
    """
    result = np.zeros(numbers.shape, "float32")
    things = renumbered(numbers)  # every number up to the largest is looked for, and that may be in the billions
    for number, part in enumerate(scipy.ndimage.find_objects(things), start=1):
        own = things[part] == number
        inside = scipy.ndimage.distance_transform_edt(np.pad(own, 1))[1:-1, 1:-1]
        result[part][own] = (inside / inside.max())[own]
    return result


def _numbers(content: Any) -> np.ndarray:
    """Return the numbers in an image file, int32 (height, width). Raises ValueError, whose message goes on from the
    example's name."""
    encoded = content if isinstance(content, bytes) else content.item()
    try:
        with PIL.Image.open(io.BytesIO(encoded)) as image:
            numbers = np.asarray(image)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError):
        raise ValueError("has instances whose file is truncated, damaged, or not a PNG or TIFF") from None
    if numbers.ndim != 2 or numbers.dtype.kind == "f":
        raise ValueError("has instances that are not grey values; write the number of its thing into each pixel, 8 or "
                         "16 bits, 0 where there is none")
    return numbers.astype("int32")


def _size(learnt: Learnt) -> tuple[int | None, int | None]:
    height, width = (int(side) or None for side in learnt.statistics["size"])
    return height, width
