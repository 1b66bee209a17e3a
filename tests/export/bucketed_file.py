"""What tests of buckets of length share: a small encoder, its file, and one without buckets beside it."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

import models
from export.conversion import convert
from export.keras_models import graph
from export.keras_models.shortened import shortened
from export.predictors.bucketed import UP_TO
from export.signature import Signature, Tensor

LENGTH, SHORTER, VOCABULARY = 16, (4, 8), 60


class Made(NamedTuple):
    """A model whose weights are drawn anew, and its file with buckets."""

    model: keras.Model
    path: Path


def made(folder: Path) -> Made:
    """Write the file into a folder."""
    keras.utils.set_random_seed(0)
    model = models.build("bert", length=LENGTH, vocabulary=VOCABULARY, classes=3, depth=1, units=32, heads=2)
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + 0.2 * generator.normal(size=weight.shape))

    def functions(one: keras.Model) -> list:
        return [graph.function(one, signature(LENGTH, "serving_default")),
                *(graph.function(shortened(one, length), signature(length, f"{UP_TO}{length}")) for length in SHORTER)]

    convert.float_graph(model, functions, folder / "graph")
    (folder / "buckets.tflite").write_bytes(convert.convert(folder / "graph", "float32"))
    return Made(model, folder / "buckets.tflite")


def signature(length: int, name: str) -> Signature:
    """Return the signature of texts of so many tokens."""
    return Signature(name=name, inputs=(Tensor(name="tokens", dtype="int32", shape=(length,), role="tokens"),),
                     outputs=(Tensor(name="logits", dtype="float32", shape=(3,), role="logits"),))


def texts() -> np.ndarray:
    """Return texts of every size, int32 (17, LENGTH)."""
    tokens = np.random.default_rng(1).integers(1, VOCABULARY, (LENGTH + 1, LENGTH))
    return np.where(np.arange(LENGTH) < np.arange(LENGTH + 1)[:, None], tokens, 0).astype("int32")
