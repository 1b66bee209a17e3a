"""A task of one's own, whole in this file: two named inputs, a dense output.

It is loaded as a plugin, so that it is not known where it is not asked for.
"""
from etils import epy

from export.signature import Tensor
from models.registry import register
from pipelines.features.image import Image
from pipelines.features.mask import Mask
from pipelines.features.number import Number
from pipelines.tasks.task import Evaluation, Metric, Task, rounded

with epy.lazy_imports():
    import keras


class Threshold(Task, name="threshold"):
    """Which pixels of an image are brighter than a number."""

    inputs, targets, pairs, split = {"image": Image, "limit": Number}, {"mask": Mask}, {"logits": "mask"}, "random"
    metrics = (Metric(name="pixel_accuracy", label="pixel accuracy"),
               Metric(name="error", better="lower", relative=True))

    def dimensions(self, index):
        return {"input_shape": index.inputs["image"].shape, "classes": 2}

    def outputs(self, index):
        return (Tensor(name="logits", dtype="float32", shape=(*index.inputs["image"].shape[:2], 2), role="logits"),)

    def measure(self, index):
        return Pixels()

    def in_words(self, outputs, index):
        return [f"{mask.mean():.0%} of the pixels are brighter" for mask in outputs["logits"].argmax(-1)]

    def sentence(self, index, evaluation):
        return f"It finds the bright pixels, {evaluation.metrics['pixel_accuracy']:.2%} of them rightly."


class Pixels:
    right = total = 0

    def add(self, targets, outputs):
        wrong = (outputs["logits"].argmax(-1) != targets["mask"]).mean(axis=(1, 2))
        self.right, self.total = self.right + (1 - wrong).sum(), self.total + len(wrong)
        return wrong

    def result(self, folder=None):
        return Evaluation(metrics=rounded({"pixel_accuracy": self.right / self.total,
                                           "error": 1 - self.right / self.total}))


@register("threshold_net", task="threshold", paper="none", at={"input_shape": (16, 16, 1), "classes": 2})
def threshold_net(input_shape, classes, *, width: int = 8):
    """Two convolutions on the image beside the number."""
    image, limit = keras.Input(input_shape, name="image"), keras.Input((), name="limit")
    number = keras.layers.Reshape((1, 1, 1))(limit) + keras.ops.zeros_like(image)
    x = keras.layers.Concatenate()([keras.layers.Rescaling(1 / 255)(image), number])
    x = keras.layers.Conv2D(width, 3, padding="same", activation="relu")(x)
    return keras.Model([image, limit], {"logits": keras.layers.Conv2D(classes, 1, name="logits")(x)})
