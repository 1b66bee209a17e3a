"""Sharded TFRecord files of tf.train.Example."""
from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Sequence
from typing import Annotated, Any

from etils import epy
from pydantic import Field as Setting
from pydantic import field_validator
from pydantic_core import PydanticCustomError

from pipelines.entries import Section
from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Part, select
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import tensorflow as tf

#: The classes as a recipe writes them: how many there are, or their names.
Classes = Annotated[int, Setting(ge=2)] | Annotated[list[Any], Setting(min_length=2)]


class Features(Section):
    """The names of the features in each tf.train.Example."""

    image: str = Setting("image/encoded", description="bytes of an encoded image")
    label: str = Setting("image/class/label", description="int64, the class, counted from 0")


class TfRecord(Source, name="tfrecord"):
    """Sharded TFRecord files of tf.train.Example with an encoded image and an integer label.

    Args:
        train, validation, test: the shards, as a glob; validation and test are cut from train where not given.
        classes: the class names, or how many there are.
        features: the names of the features.
    """

    train: str = Setting(min_length=1)
    validation: str | None = None
    test: str | None = None
    class_names: list[str] = Setting(alias="classes")
    features: Features = Features()

    @field_validator("class_names", mode="before", json_schema_input_type=Classes)
    @classmethod
    def read_classes(cls, value: object) -> object:
        if isinstance(value, int):
            value = [str(number) for number in range(value)]
        if not isinstance(value, list) or len(value) < 2:
            raise PydanticCustomError("classes", "give the names of at least two classes, or their number")
        return [str(name) for name in value]

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in self.parts():
            for name in self.shards(part):
                status = os.stat(name)
                digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def fields(self) -> dict[str, Field]:
        return {"image": Field(kind="bytes"), "label": Field(kind="class", names=self.class_names)}

    def parts(self) -> list[Part]:
        return [part for part in ("train", "validation", "test") if getattr(self, part)]

    def shards(self, part: Part) -> list[str]:
        """Return the files of a part, sorted."""
        pattern = getattr(self, part)
        names = sorted(glob.glob(pattern, recursive=True))
        if not names:
            raise UserError(f"data.source.tfrecord.{part}: no file matches {pattern}")
        return names

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the examples of a part; an example's id is its shard and its position in it."""
        spec = {self.features.image: tf.io.FixedLenFeature([], tf.string),
                self.features.label: tf.io.FixedLenFeature([], tf.int64)}

        def named(shard: tf.Tensor) -> tf.data.Dataset:
            return tf.data.TFRecordDataset(shard).enumerate().map(
                lambda position, record: (record, tf.strings.join([shard, "#", tf.strings.as_string(position)])))

        shards = self.shards(part)
        records = tf.data.Dataset.from_tensor_slices(shards).interleave(
            named, cycle_length=min(16, len(shards)), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

        def parse(record: tf.Tensor, name: tf.Tensor) -> dict[str, tf.Tensor]:
            example = tf.io.parse_single_example(record, spec)
            return {"image": example[self.features.image], "label": example[self.features.label], "id": name}

        return select(records, positions).map(parse, num_parallel_calls=tf.data.AUTOTUNE)

    def diagnose(self, part: Part, error: Exception) -> str:
        expected = f"{self.features.image} (bytes) and {self.features.label} (int64)"
        for shard in self.shards(part):
            try:
                for record in tf.data.TFRecordDataset(shard).as_numpy_iterator():
                    features = tf.train.Example.FromString(record).features.feature
                    image, label = features[self.features.image], features[self.features.label]
                    if not (image.bytes_list.value and label.int64_list.value):
                        return (f"data.source.tfrecord: {shard} has an example without {expected}; its features are "
                                f"{', '.join(sorted(name for name in features if features[name].WhichOneof('kind')))}. "
                                "Name yours in data.source.tfrecord.features")
            except tf.errors.DataLossError:
                return f"data.source.tfrecord: {shard} is damaged; make the shard again, or take it out of the pattern"
        return super().diagnose(part, error)
