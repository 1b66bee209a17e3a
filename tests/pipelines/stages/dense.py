"""What the tests of stages share: a task with an output per pixel, and data of it."""
from __future__ import annotations

import numpy as np

from export.signature import Tensor
from pipelines.features.image import Image
from pipelines.features.mask import Mask
from pipelines.ingest.data import Data
from pipelines.tasks.task import Evaluation, Metric, Task, rounded
from tests.pipelines.ingest.conftest import data_of

SIDE, EXAMPLES = 8, 20


class Bright(Task):
    """Which pixels are bright."""

    inputs, targets, pairs, split = {"image": Image}, {"mask": Mask}, {"logits": "mask"}, "random"
    metrics = (Metric(name="pixels"),)

    def outputs(self, index):
        return (Tensor(name="logits", dtype="float32", shape=(SIDE, SIDE, 2), role="logits", tolerance=1e-3),)

    def measure(self, index):
        return Pixels()


class Pixels:
    def __init__(self):
        self.wrong = []

    def add(self, targets, outputs):
        self.wrong.append((outputs["logits"].argmax(-1) != targets["mask"]).mean(axis=(1, 2)))
        return self.wrong[-1]

    def result(self, folder=None):
        return Evaluation(metrics=rounded({"pixels": 1 - np.concatenate(self.wrong).mean()}))


class Network:
    """A predictor of bright pixels, off by a number."""

    def __init__(self, off: float = 0.0):
        self.off = off
        self.asked = 0

    def predict(self, inputs, signature=None):
        self.asked += len(inputs["image"])
        values = inputs["image"][..., 0].astype("float32")
        return {"logits": np.stack([128 - values, values - 128 + self.off], axis=-1).astype("float32")}


def bright(arrays) -> Data:
    """Return data of `EXAMPLES` test images and their masks."""
    images = np.random.default_rng(0).integers(0, 256, (60, SIDE, SIDE)).astype("uint8")
    masks = (images > 128).astype("uint8")
    written = arrays(x_train=images[EXAMPLES:], train_mask=masks[EXAMPLES:], x_test=images[:EXAMPLES],
                     test_mask=masks[:EXAMPLES])
    return data_of(written, Bright(), image={"size": SIDE, "channels": 1}, mask={"classes": 2}, batch=8)
