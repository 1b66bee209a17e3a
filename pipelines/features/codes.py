"""Codes: the numbers of vectors that an image is made of, before any is drawn."""
from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from etils import epy
from pydantic import Field as Setting

from export.signature import Tensor
from pipelines.features.feature import Feature, Field, Learnt
from pipelines.features.noise import ID, Noise

with epy.lazy_imports():
    import tensorflow as tf


class Codes(Feature, name="codes", shorthand="size"):
    """Codes of an image, 0 each: what they are the model says, and a sampler draws.

    Args:
        size: how many; as many as there are numbers of noise where not given.
    """

    role = "tokens"
    accepts: ClassVar[tuple[str, ...]] = ("text",)
    size: int | None = Setting(None, ge=1)

    def field_name(self, name: str) -> str:
        return self.field or ID

    def check(self, name: str, fields: dict[str, Field]) -> Field:
        return super().check(name, fields) if self.field is not None else Field(kind="text")

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        noise = next((one for one in others.values() if isinstance(one, Noise)), None)
        if self.size is not None or noise is None or not isinstance(noise.size, int):
            return self
        return self.model_copy(update={"size": noise.size})

    def learn(self, field: Field, values: object) -> Learnt:
        return Learnt()

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="int32", shape=(self.size or 1,), role="tokens", meaning="row by row")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return codes, int32 (size,)."""
        return tf.zeros([self.size or 1], tf.int32)
