"""Masks: one class per pixel."""
from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from etils import epy
from pydantic import Field as Setting
from pydantic import field_validator, model_validator
from pydantic_core import PydanticCustomError

from export.signature import Tensor
from pipelines.errors import UserError
from pipelines.features.feature import Feature, Field, Learnt
from pipelines.features.image import Image, Size, whole_pixels
from pipelines.figures import segmentation

with epy.lazy_imports():
    import numpy as np
    import PIL.Image
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The value of pixels of no class, as in PASCAL VOC and Cityscapes: one-hot they are all 0, and losses leave them out.
VOID = 255
#: Names of two classes that have none.
TWO = ("background", "foreground")
LEVELS = 256


class Mask(Feature, name="mask", shorthand="size"):
    """The class of every pixel, out of a PNG or an array (height, width).

    In a PNG classes are grey values, or numbers of a palette. The value 255 is no class, unless `values` lists it. Of
    two classes whose masks have 0 and 255 alone, 255 is the second.

    Args:
        size: pixels, one number for a square or [height, width]; the image's where not given.
        fit: resize (to the nearest pixel), or pad (no class around, or cut); the image's where not given.
        classes: how many, where neither the source nor `names` says it.
        names: of the classes, in their order.
        values: what each class is written as, in their order, where that is not 0, 1, 2 and so on: [0, 128, 255].
    """

    role, accepts = "mask", ("bytes", "array")
    size: tuple[int, int] | None = Setting(None)
    fit: Literal["resize", "pad"] = "resize"
    classes: int | None = Setting(None, ge=2, le=VOID)
    names: list[str] | None = Setting(None, min_length=2, max_length=VOID)
    values: list[int] | None = Setting(None, min_length=2, max_length=VOID)

    @field_validator("size", mode="before", json_schema_input_type=Size | None)
    @classmethod
    def read_size(cls, value: object) -> object:
        return None if value is None else whole_pixels(value)

    @field_validator("names")
    @classmethod
    def must_tell_classes_apart(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and (len(set(names)) < len(names) or not all(names)):
            raise PydanticCustomError("names", "give a different name for each class")
        return names

    @field_validator("values")
    @classmethod
    def must_be_grey_levels(cls, values: list[int] | None) -> list[int] | None:
        if values is not None and (len(set(values)) < len(values) or not all(0 <= one < LEVELS for one in values)):
            raise PydanticCustomError("values", "give a different value for each class, all from 0 to 255")
        return values

    @model_validator(mode="after")
    def must_be_as_many(self) -> Self:
        counts = {"classes": self.classes, "names": self.names and len(self.names),
                  "values": self.values and len(self.values)}
        given = {name: count for name, count in counts.items() if count}
        if len(set(given.values())) > 1:
            listed = ", ".join(f"{name} {count}" for name, count in given.items())
            raise PydanticCustomError("combination", "must say one number of classes, and they say: {listed}",
                                      {"listed": listed})
        return self

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        """Return the mask brought to the size of the image, where there is one, in the same way.

        Raises:
            PydanticCustomError: its own settings would move it against the image.
        """
        images = [other for other in others.values() if isinstance(other, Image)]
        if len(images) != 1:
            return self
        size = self.size or images[0].size
        fit = self.fit if "fit" in self.model_fields_set else images[0].fit
        if size == images[0].size and fit != images[0].fit:
            raise PydanticCustomError("combination", "fit is {fit}, and that of the image {other}: masks would lie "
                                      "beside their images. Leave it out", {"fit": fit, "other": images[0].fit,
                                                                            "at": ["data", "mask", "fit"]})
        return self.model_copy(update={"size": size, "fit": fit})

    def learn(self, field: Field, values: Iterable[np.ndarray]) -> Learnt:
        count = self.classes or len(self.values or ()) or 2
        names = self.names or field.names or (list(TWO) if count == 2 else [str(number) for number in range(count)])
        for setting, given in (("names", self.names), ("values", self.values)):
            if field.names and given and len(given) != len(field.names):
                raise UserError(f"data.mask: {setting} has {len(given)} classes, and the source {len(field.names)}: "
                                f"{', '.join(field.names)}")
        shape = self.size or (field.shape or (0, 0))[:2]
        levels = self.values or list(range(len(names)))
        if len(names) == 2 and self.values is None and _are_black_and_white(values):
            levels = [0, VOID]
        return Learnt(names=names, statistics={"size": [float(side or 0) for side in shape],
                                               "values": [float(level) for level in levels]})

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="uint8", shape=_size(learnt), role="mask", meaning="the class of every pixel")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the classes of one mask, uint8 (height, width)."""
        if value.dtype == tf.string:
            # TensorFlow reads a palette's colours and not its numbers; no served graph decodes a target
            levels = tf.numpy_function(_levels, [value], tf.uint8, stateful=False)
            levels.set_shape([None, None])
        else:
            levels = tf.cast(value, tf.uint8)
            levels = levels[..., 0] if levels.shape.rank == 3 else levels
        mask = tf.gather(tf.constant(_class_of_level(learnt)), tf.cast(levels, tf.int32))
        return tf.ensure_shape(self._fitted(mask), _size(learnt))

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        """Return why a mask cannot be read, or which value it has that is of no class."""
        if isinstance(value, bytes):
            if not value:
                return "has an empty mask"
            try:
                value = _levels(value)
            except ValueError as error:
                return str(error)
        value = np.asarray(value)
        known = _values(learnt)
        wrong = value[(value != VOID) & ~np.isin(value, known)]
        if not wrong.size:
            return None
        if known == list(range(len(known))):
            return (f"has a mask with the class {wrong[0]}, but there are {len(known)} classes, 0 to {len(known) - 1}; "
                    "say how many in data.mask.classes, or what they are written as in data.mask.values")
        return (f"has a mask with the value {wrong[0]}, but classes are written as "
                f"{', '.join(map(str, known))}; list them in data.mask.values")

    def prepare(self, values: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return masks (batch, height, width) one-hot, float32 (batch, height, width, classes)."""
        return tf.one_hot(tf.cast(values, tf.int32), len(learnt.names))

    def encode(self, value: np.ndarray) -> tuple[str, bytes]:
        """Return a mask (height, width) as a grey PNG file of its classes."""
        file = io.BytesIO()
        PIL.Image.fromarray(value.astype("uint8")).save(file, "PNG")
        return "png", file.getvalue()

    def counts(self, values: np.ndarray, learnt: Learnt) -> np.ndarray:
        """Return how many pixels each class has."""
        return np.bincount(np.ravel(values).astype(int), minlength=len(learnt.names))[:len(learnt.names)]

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        """Draw a mask (height, width), or one-hot (height, width, classes), without an image behind it."""
        segmentation.overlay(axes, classes_of(value), learnt.names, strength=1.0)

    def _fitted(self, mask: tf.Tensor) -> tf.Tensor:
        if self.size is None:
            return mask
        if self.fit == "resize":
            return tf.image.resize(mask[..., None], self.size, method="nearest")[..., 0]
        raised = tf.cast(mask, tf.int32)[..., None] + 1  # so that what is padded, 0, is no class
        padded = tf.image.resize_with_crop_or_pad(raised, *self.size)[..., 0]
        return tf.cast(tf.where(padded == 0, VOID, padded - 1), tf.uint8)


def classes_of(value: np.ndarray) -> np.ndarray:
    """Return the classes (height, width) of a mask that may be one-hot (height, width, classes)."""
    return np.where(value.any(-1), value.argmax(-1), VOID) if value.ndim == 3 else value


def _levels(content: Any) -> np.ndarray:
    """Return the grey values of an image file, or the numbers of its palette, uint8 (height, width).

    Raises:
        ValueError: it is damaged, in colours, or has values that are not 0 to 255; the message goes on from
            the example's name.
    """
    encoded = content if isinstance(content, bytes) else content.item()  # TensorFlow gives an array when it is eager
    try:
        with PIL.Image.open(io.BytesIO(encoded)) as image:
            levels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError):
        raise ValueError("has a mask that is truncated, damaged, or not a PNG") from None
    if levels.ndim == 3:
        colors = levels[..., :1] if levels.shape[-1] == 2 else levels[..., :3]
        if (colors != colors[..., :1]).any():
            raise ValueError("has a mask in colours; write the classes as grey values, or as numbers of a palette")
        levels = colors[..., 0]
    odd = levels[~((levels >= 0) & (levels < LEVELS) & (levels == np.floor(levels)))]
    if odd.size:
        raise ValueError(f"has a mask with the value {odd.max():g}; write classes as 0 to 255")
    return levels.astype(np.uint8)


def _are_black_and_white(values: Iterable[Any]) -> bool:
    """Return whether masks have 255 somewhere, and nothing but 0 beside it."""
    seen = np.zeros(LEVELS, bool)
    for value in values:
        levels = _levels(value) if isinstance(value, bytes) else np.asarray(value)
        seen[np.unique(levels).astype(int)] = True
        if seen[1:VOID].any():
            return False
    return bool(seen[VOID])


def _values(learnt: Learnt) -> list[int]:
    return [int(value) for value in learnt.statistics["values"]]


def _class_of_level(learnt: Learnt) -> np.ndarray:
    """Return the class of each of 256 values; 255 where it is of none."""
    classes = np.full(LEVELS, VOID, np.uint8)
    known = _values(learnt)
    classes[known] = np.arange(len(known))
    return classes


def _size(learnt: Learnt) -> tuple[int | None, int | None]:
    height, width = (int(side) or None for side in learnt.statistics["size"])
    return height, width
