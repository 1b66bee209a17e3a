"""A task with large dense outputs, for benchmarks/memory.py: the class of every pixel, twenty classes, 256 x 256
pixels."""
from __future__ import annotations

from etils import epy

from export.signature import Tensor
from models.registry import register
from pipelines.features.image import Image
from pipelines.features.mask import Mask
from pipelines.tasks.task import Evaluation, Metric, Task, rounded

with epy.lazy_imports():
    import keras
    import numpy as np

CLASSES, SIDE = 20, 256


class Dense(Task, name="dense"):
    """The class of every pixel."""

    inputs, targets, pairs, split = {"image": Image}, {"mask": Mask}, {"logits": "mask"}, "random"
    metrics = (Metric(name="mean_iou", label="mean IoU"),)

    def dimensions(self, index):
        return {"input_shape": index.inputs["image"].shape, "classes": CLASSES}

    def outputs(self, index):
        return (Tensor(name="logits", dtype="float32", shape=(SIDE, SIDE, CLASSES), role="logits"),)

    def measure(self, index):
        return Confusion()

    def in_words(self, outputs, index):
        return ["" for _ in outputs["logits"]]

    def sentence(self, index, evaluation):
        return "It says the class of every pixel."


class Confusion:
    """Adds up how often each class was taken for each, which is all that IoU needs."""

    def __init__(self):
        self.counts = np.zeros((CLASSES, CLASSES))

    def add(self, targets, outputs):
        predicted = outputs["logits"].argmax(-1)
        pairs = targets["mask"].astype(int) * CLASSES + predicted
        self.counts += np.bincount(pairs.ravel(), minlength=CLASSES**2).reshape(CLASSES, CLASSES)
        return (predicted != targets["mask"]).mean(axis=(1, 2))

    def result(self, folder=None):
        both = np.diag(self.counts)
        either = self.counts.sum(0) + self.counts.sum(1) - both
        return Evaluation(metrics=rounded({"mean_iou": (both / np.maximum(either, 1)).mean()}))


@register("dense_net", task="dense", paper="none", at={"input_shape": (SIDE, SIDE, 1), "classes": CLASSES})
def dense_net(input_shape, classes):
    """One convolution."""
    image = keras.Input(input_shape, name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.Conv2D(classes, 1, name="logits")(x))
