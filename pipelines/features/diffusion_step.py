"""Steps of a diffusion: how noisy the image is that a network is asked about."""
from __future__ import annotations

from typing import ClassVar

from etils import epy
from pydantic import Field as Setting

from export.signature import Tensor
from pipelines.features.feature import Feature, Field, Learnt
from pipelines.features.noise import ID

with epy.lazy_imports():
    import tensorflow as tf


class DiffusionStep(Feature, name="diffusion_step", shorthand="steps"):
    """A step from 1 on, drawn by the example's name, so that files are asked about the same one each time; while a
    model learns it is drawn anew.

    Args:
        steps: that there are.
    """

    role = "values"
    accepts: ClassVar[tuple[str, ...]] = ("text",)
    steps: int = Setting(1000, ge=2, le=100_000)

    def field_name(self, name: str) -> str:
        return self.field or ID

    def check(self, name: str, fields: dict[str, Field]) -> Field:
        return super().check(name, fields) if self.field is not None else Field(kind="text")

    def learn(self, field: Field, values: object) -> Learnt:
        return Learnt()

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="float32", shape=(), meaning=f"how noisy the image is, 1 to {self.steps}")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return an example's step, float32 ()."""
        return tf.cast(1 + tf.strings.to_hash_bucket_fast(value, self.steps), tf.float32)
