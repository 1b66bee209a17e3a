"""Series names: of which series a window is."""
from __future__ import annotations

from etils import epy

from export.signature import Tensor
from pipelines.features.feature import Feature, Field, Learnt

with epy.lazy_imports():
    import tensorflow as tf

#: What sources call an example, "co2 at 1958-05-10": its series, and a stamp.
ID = "id"
STAMP = r"^(.*) at .*$"
#: Numbers that names fall on.
NUMBERS = 2**62


class SeriesName(Feature, name="series_name"):
    """Of which series a window is, as a number that stands for its name; windows of one series have the same."""

    accepts = ("text",)
    counted = False

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="int64", shape=(), meaning="the series that the window is of")

    def field_name(self, name: str) -> str:
        return self.field or ID

    def check(self, name: str, fields: dict[str, Field]) -> Field:
        """Return what every source has beside its fields: the example's id."""
        return Field(kind="text")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return tf.strings.to_hash_bucket_fast(tf.strings.regex_replace(value, STAMP, r"\1"), NUMBERS)
