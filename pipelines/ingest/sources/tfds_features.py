"""The features of a TensorFlow Datasets set as fields, and the way to their values in an example."""
from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epy

from pipelines.features.feature import Field

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf
    import tensorflow_datasets as tfds

#: What the sets call an object's box and class, and what makes it none to learn from.
BOX, CLASS, CROWDS = "bbox", "label", ("is_crowd", "is_difficult", "is_group_of")


def single(features: Any, outer: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the features that are no dict of others, with their names behind those of the dicts that they are in."""
    for name, feature in features.items():
        if isinstance(feature, tfds.features.FeaturesDict):
            yield from single(feature, (*outer, name))
        else:
            yield (*outer, name), feature


def encoded(features: Any) -> dict[str, Any]:
    """Return TFDS's decoders that leave images as their files."""
    decoders: dict[str, Any] = {}
    for name, feature in features.items():
        if isinstance(feature, tfds.features.FeaturesDict) and (inner := encoded(feature)):
            decoders[name] = inner
        elif isinstance(feature, tfds.features.Image):
            decoders[name] = tfds.decode.SkipDecoding()
    return decoders


def raw(example: Any, path: Sequence[str]) -> tf.Tensor:
    """Return a field's raw value, a truth value as the number of its class, objects as boxes."""
    value = functools.reduce(operator.getitem, path, example)
    if isinstance(value, dict):
        return _boxes(value)
    return tf.cast(value, tf.int64) if value.dtype == tf.bool and not value.shape.rank else value


def _boxes(objects: Any) -> tf.Tensor:
    """Return objects as boxes, float32 (objects, 6), see `features.boxes`. What is difficult (VOC), or a group (Open
    Images), counts as a crowd, as those sets' own measures have it."""
    sides, classes = objects[BOX], tf.cast(objects[CLASS], tf.float32)
    crowd = tf.zeros_like(classes)
    for name in CROWDS:
        if name in objects:
            crowd = tf.maximum(crowd, tf.cast(tf.cast(objects[name], tf.int32) > 0, tf.float32))
    return tf.concat([sides, classes[:, None], crowd[:, None]], axis=1)


def _names_of_objects(feature: Any) -> list[str] | None:
    """Return the classes of a sequence of objects with a box and a class each; None where it is something else."""
    kinds = tfds.features
    inner = getattr(feature, "feature", None) if isinstance(feature, kinds.Sequence) else None
    if not isinstance(inner, kinds.FeaturesDict) or not {BOX, CLASS} <= set(inner):
        return None
    if not isinstance(inner[BOX], kinds.BBoxFeature) or not isinstance(inner[CLASS], kinds.ClassLabel):
        return None
    return list(inner[CLASS].names)


def described(feature: Any) -> Field | None:
    """Return the field that a feature of TFDS is; None where it is of a kind that no feature of ours is made of."""
    kinds = tfds.features
    if isinstance(feature, kinds.Image):
        names = list(feature.names) if isinstance(feature, kinds.LabeledImage) else None
        return Field(kind="bytes", names=names, shape=feature.shape)
    if isinstance(feature, kinds.ClassLabel):
        return Field(kind="class", names=list(feature.names))
    if isinstance(feature, kinds.Text):
        return Field(kind="text")
    if names := _names_of_objects(feature):
        return Field(kind="boxes", names=names)
    if not isinstance(feature, kinds.Tensor) or np.dtype(feature.np_dtype).kind not in "biuf":
        return None
    if feature.shape:
        return Field(kind="array", shape=feature.shape)
    if np.dtype(feature.np_dtype).kind == "b":
        return Field(kind="class", names=["false", "true"])
    return Field(kind="number")
