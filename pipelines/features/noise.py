"""Noise: the numbers that a picture is made of, drawn for each example."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from etils import epy
from pydantic import field_validator
from pydantic_core import PydanticCustomError

from export.signature import Tensor
from pipelines.features.feature import Feature, Field, Learnt
from pipelines.features.image import Image, Side

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What every source calls its examples.
ID = "id"
#: Of an example's seed; the other number is the hash of its name, below this.
SEED, HASHES = 7, 2**31 - 1


class Noise(Feature, name="noise", shorthand="size"):
    """Normal numbers, drawn by the example's name, so that figures are those of the same noise each time; while a model
    learns they are drawn anew at each step.

    Args:
        size: how many numbers; image is as many as the image beside has, in its shape.
    """

    role = "noise"
    accepts: ClassVar[tuple[str, ...]] = ("text",)
    size: Side | tuple[Side, Side, Side] | Literal["image"] = 16

    @field_validator("size", mode="before")
    @classmethod
    def must_say_how_many(cls, value: object) -> object:
        sides = value if isinstance(value, (list, tuple)) and len(value) == 3 else [value]
        if value != "image" and not all(type(side) is int and side >= 1 for side in sides):
            raise PydanticCustomError("size", "give how many numbers, 1 or more, [height, width, channels] of them, or "
                                              "image")
        return value

    @property
    def shape(self) -> tuple[int, ...]:
        """Return its shape, without the batch; of an image it is known once that stands beside."""
        assert self.size != "image"
        return self.size if isinstance(self.size, tuple) else (self.size,)

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        """Return noise of the size of the image in the example, where it is asked for."""
        image = next((one for one in others.values() if isinstance(one, Image)), None)
        return self.model_copy(update={"size": image.shape}) if self.size == "image" and image is not None else self

    def field_name(self, name: str) -> str:
        return self.field or ID

    def check(self, name: str, fields: dict[str, Field]) -> Field:
        """Return what noise is drawn by: the example's name, which every source has."""
        return super().check(name, fields) if self.field is not None else Field(kind="text")

    def learn(self, field: Field, values: object) -> Learnt:
        return Learnt()

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="float32", shape=self.shape, role="noise",
                      meaning="independent normal numbers of mean 0 and deviation 1")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the noise of an example by its name, float32."""
        seed = tf.stack([SEED, tf.cast(tf.strings.to_hash_bucket_fast(value, HASHES), tf.int32)])
        return tf.random.stateless_normal(self.shape, seed, alg="philox")

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        axes.bar(range(np.size(value)), np.ravel(value))
