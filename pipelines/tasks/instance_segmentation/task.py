"""Instance segmentation: which pixels belong to which thing."""
from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import Field

from export.signature import Arrays, Tensor
from export.targets import tools
from pipelines.errors import UserError
from pipelines.features import instances as feature
from pipelines.features.image import Image, in_words, size_of
from pipelines.features.instances import CHANNELS, INSIDE, Instances
from pipelines.figures import segmentation
from pipelines.ingest.index import Index
from pipelines.tasks import drawn_masks
from pipelines.tasks.answered import Answered
from pipelines.tasks.instance_segmentation.measure import Separation
from pipelines.tasks.instance_segmentation.separating import separated
from pipelines.tasks.task import Evaluation, Metric
from pipelines.tasks.windows import InWindows
from pipelines.training.instances_loss import InstancesLoss
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

IMAGE, TARGET, OUTPUT = "image", "instances", "logits"


class InstanceSegmentation(InWindows, name="instance_segmentation"):
    """Which pixels belong to which thing, of things of one kind.

    The network says of each pixel whether it is inside a thing, and how far; things are separated from that.

    Args:
        threshold: a pixel is inside from this probability on.
        seed: the middle of a thing is what is as far inside, as a share of the farthest.
        smallest: pixels of a thing, at least.
        windows: see `tasks.windows`: images are not brought to the model's size, but seen in windows of it, which
            overlap by this share.
    """

    inputs, targets, split = {IMAGE: Image}, {TARGET: Instances}, "random"
    metrics = (Metric(name="ap", label="AP"), Metric(name="ap_50", label="AP at 0.5"),
               Metric(name="ap_75", label="AP at 0.75", shown=False),
               Metric(name="count_error", label="count error", better="lower"),
               Metric(name="pixel_dice", label="Dice of pixels", shown=False))
    watched = (Metric(name="inside_iou", label="IoU of the inside"),)
    loss = "instances"
    ranked = True
    worst_caption = ("The best, the median and the worst test images by their own AP: the image, what is true, and "
                     "what is answered")
    threshold: float = Field(0.5, gt=0, lt=1)
    seed: float = Field(0.5, gt=0, lt=1)
    smallest: int = Field(20, ge=1)

    def fault(self, example: Mapping[str, Any]) -> str | None:
        image, numbers = size_of(example[IMAGE]), size_of(example[TARGET])
        if image is None or numbers is None or image == numbers:
            return None
        return (f"has instances of {' x '.join(map(str, numbers))} pixels and an image of "
                f"{' x '.join(map(str, image))}; give instances of their images' size")

    def dimensions(self, index: Index) -> dict[str, Any]:
        if absent := tools.missing("medical"):
            raise UserError(f"task: instance_segmentation separates things by scikit-image: {absent}")
        return {"input_shape": index.inputs[IMAGE].shape, "classes": CHANNELS}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return (Tensor(name=OUTPUT, dtype="float32", shape=(*index.targets[TARGET].shape, CHANNELS),
                       meaning="two per pixel: their sigmoid is the probability that it is inside a thing, and how far "
                               "it is inside, as a share of the farthest"),)

    def objective(self, loss: Loss, index: Index) -> Objective:
        if not isinstance(loss, InstancesLoss):
            raise UserError(f"train.loss: {loss.entry_name} is not for instances; leave it out, or give instances")
        return lambda inputs, targets, outputs: loss.of_pixels(targets[TARGET], outputs[OUTPUT])

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"inside_iou": lambda targets, outputs: inside_iou(targets[TARGET], outputs[OUTPUT])}

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return what the network gives, and the number of the thing that each pixel belongs to."""
        outputs = predictor.predict(inputs)
        return {**outputs, TARGET: self.separate(outputs[OUTPUT])}

    def separate(self, outputs: np.ndarray) -> np.ndarray:
        """Return the numbers of things, int32 (batch, height, width), out of what a network gives."""
        return np.stack([separated(one, threshold=self.threshold, seed=self.seed, smallest=self.smallest)
                         for one in outputs])

    def answer_large(self, predictor: Predictor, image: np.ndarray, name: str, window: Sequence[int]) -> dict[str, Any]:
        """Return what the network gives of an image of any size, and the number of the thing that each pixel belongs
        to."""
        outputs = super().answer_large(predictor, image, name, window)
        return {**outputs, TARGET: self.separate(outputs[OUTPUT])}

    def measure(self, index: Index) -> Separation:
        return Separation(TARGET)

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        lines = []
        for numbers in outputs[TARGET]:
            areas = np.bincount(numbers.ravel())[1:]
            lines.append(f"{len(areas)} things, {np.median(areas):.0f} pixels in the middle" if len(areas)
                         else "nothing")
        return lines

    def write_answers(self, files: Sequence[Path], outputs: Arrays, index: Index, folder: Path) -> None:
        """Write the numbers of each image's things as a PNG of 16 bits, and their colours over the image."""
        drawn_masks.write(files, list(outputs[IMAGE]), list(outputs[TARGET]), index, folder)

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        return (f"It separates things in {in_words(index.inputs[IMAGE])}. On the held-out test images its AP "
                f"is {evaluation.metrics['ap']:.3f}, {evaluation.metrics['ap_50']:.3f} at an overlap of one half, and "
                f"it is off by {evaluation.metrics['count_error']:.1f} things an image on average.")

    def draw(self, axes: Axes, data: Data, inputs: Arrays, targets: Arrays, position: int,
             title: str | None = None) -> None:
        """Draw an example's things over its image."""
        super().draw(axes, data, inputs, targets, position, title)
        data.features[TARGET].draw(axes, targets[TARGET][position], data.index.learnt[TARGET])

    def draw_answers(self, data: Data, examples: Sequence[Answered], path: Path) -> None:
        """Draw each example's image, what is true, and what is answered."""
        image, learnt = data.features[IMAGE], data.index.learnt[IMAGE]
        segmentation.separated([
            (f"{one.rank}: AP {1 - one.wrong:.3f}",
             functools.partial(image.draw, value=one.inputs[IMAGE][0], learnt=learnt),
             one.targets[TARGET][0], self.separate(one.outputs[OUTPUT])[0]) for one in examples], path)

    def decision(self, outputs: Arrays) -> np.ndarray:
        """Return how many things there are."""
        numbers = outputs[TARGET] if TARGET in outputs else self.separate(outputs[OUTPUT])
        return np.array([feature.count(one) for one in numbers])

    def decided(self, targets: Arrays) -> np.ndarray:
        return np.array([feature.count(one) for one in targets[TARGET]])

    def expected(self, outputs: Arrays, index: Index) -> dict[str, str]:
        return {"things": str(self.decision(outputs)[0])}


def inside_iou(targets: Any, outputs: Any) -> Any:
    """Return the IoU of what is inside, (batch,): 1 where nothing is, and nothing is answered.

    Args:
        targets, outputs: (batch, height, width, 2), see `features.instances`.
    """
    true, given = targets[..., INSIDE] > 0.5, outputs[..., INSIDE] > 0
    both = tf.reduce_sum(tf.cast(true & given, tf.float32), [1, 2])
    either = tf.reduce_sum(tf.cast(true | given, tf.float32), [1, 2])
    return tf.where(either > 0, tf.math.divide_no_nan(both, either), 1.0)
