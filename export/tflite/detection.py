"""What stands behind a detector's network in a file that gives boxes itself: TFLite_Detection_PostProcess, the operator
that MediaPipe's ObjectDetector knows."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from etils import epy

from export.conversion import converter
from export.signature import Tensor
from export.tflite.joined import joined

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

OPERATOR = "TFLite_Detection_PostProcess"
#: The outputs, under the names of TensorFlow's Object Detection API and in the operator's order: sides (1, most, 4)
#: ymin, xmin, ymax, xmax as shares, classes and scores (1, most), and how many there are (1,).
OUTPUTS = BOXES, CLASSES, SCORES, COUNT = "detection_boxes", "detection_classes", "detection_scores", "num_detections"
#: A side of a box is at least so long: the operator takes its logarithm.
SHORTEST = 1e-6


@dataclasses.dataclass(frozen=True)
class PostProcessing:
    """How boxes come of what a network gives.

    Args:
        decode: from the network's outputs by name, (1, places, …) each, to sides (1, places, 4) ymin, xmin, ymax, xmax
            as shares of the image, and scores (1, places, classes), 0 to 1.
        inputs: the network's outputs, name to shape without the batch.
        outputs: what it gives, by the names of `OUTPUTS`; the first says how many boxes there are at most.
        iou: two boxes of one class that overlap more are one thing.
        score: boxes below are left out.
    """

    decode: Callable[[dict[str, Any]], tuple[Any, Any]]
    inputs: dict[str, tuple[int, ...]]
    outputs: Sequence[Tensor]
    iou: float
    score: float

    @property
    def most(self) -> int:
        """Return how many boxes there are at most."""
        return int(self.outputs[0].shape[0] or 0)


def with_post_processing(content: bytes, behind: PostProcessing) -> bytes:
    """Return a network's file with the decoding of its boxes and their suppression, class by class, behind it.

    What is behind computes in real numbers, also in integer files.

    Args:
        content: a TFLite file of the network alone.
    """
    return joined(content, _file(behind))


def _file(behind: PostProcessing) -> bytes:
    """Return the file from the network's outputs to boxes."""
    @tf.function(input_signature=[tf.TensorSpec((1, *shape), tf.float32, name)
                                  for name, shape in behind.inputs.items()])
    def found(*values: Any) -> dict[str, Any]:
        boxes, scores = behind.decode(dict(zip(behind.inputs, values, strict=True)))
        places, classes = scores.shape[1:]
        sides = tf.maximum(boxes[..., 2:] - boxes[..., :2], SHORTEST)
        centres = (boxes[..., :2] + boxes[..., 2:]) / 2
        encoded = tf.concat([centres, tf.math.log(sides)], axis=-1)  # around one box, the whole image
        with_background = tf.concat([tf.zeros((1, places, 1)), scores], axis=-1)
        whole = tf.constant(np.tile(np.array([[0.0, 0.0, 1.0, 1.0]], "float32"), (places, 1)))
        return dict(zip(OUTPUTS, _operator(behind, classes)(encoded, with_background, whole), strict=True))

    module = tf.Module()
    module.found = found
    made = tf.lite.TFLiteConverter.from_concrete_functions([found.get_concrete_function()], module)
    made.allow_custom_ops = True
    return converter.run(made)


def _operator(behind: PostProcessing, classes: int) -> Any:
    """Return a function that the converter makes the operator of. What it computes itself is of the right shapes
    alone."""
    numbers = {"max_detections": behind.most, "max_classes_per_detection": 1, "detections_per_class": behind.most,
               "num_classes": classes}
    shares = {"nms_score_threshold": behind.score, "nms_iou_threshold": behind.iou, "y_scale": 1.0, "x_scale": 1.0,
              "h_scale": 1.0, "w_scale": 1.0}
    attributes = [*(f'attr {{ key: "{name}" value {{ i: {value} }} }}' for name, value in numbers.items()),
                  *(f'attr {{ key: "{name}" value {{ f: {value} }} }}' for name, value in shares.items()),
                  'attr { key: "use_regular_nms" value { b: true } }']  # class by class; rows behind the last are 0

    @tf.function(experimental_implements=f'name: "{OPERATOR}" {" ".join(attributes)}')
    def suppressed(boxes: Any, scores: Any, anchors: Any) -> tuple[Any, ...]:
        return (tf.zeros((1, behind.most, 4)), tf.zeros((1, behind.most)), tf.zeros((1, behind.most)), tf.zeros((1,)))

    return suppressed


