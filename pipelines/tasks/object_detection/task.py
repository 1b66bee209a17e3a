"""Object detection: what is in an image, and where."""
from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import Field, PrivateAttr

import models
from export.signature import Arrays, Function, Signature, Tensor
from export.targets import tools
from export.tflite import detection as detection_file
from export.tflite.detection import LOCATION, REGRESSORS, PostProcessing
from models.box_coding import RAW_BOXES, RAW_LOGITS, BoxCoding
from pipelines.errors import UserError
from pipelines.features import boxes as feature
from pipelines.features.boxes import Boxes
from pipelines.features.image import Image
from pipelines.figures import detection
from pipelines.ingest.index import Index
from pipelines.tasks.answered import Answered
from pipelines.tasks.compared import Compared
from pipelines.tasks.object_detection import detections, drawn, given, key_points, mediapipe
from pipelines.tasks.object_detection.measure import STATISTICS, Coco
from pipelines.tasks.task import Evaluation, Metric, Place, Task
from pipelines.training.detection.assigning import Truth
from pipelines.training.detection.detector_loss import DetectorLoss
from pipelines.training.detection.image_by_image import image_by_image
from pipelines.training.detection.overlap import overlap
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss
from pipelines.training.model_section import ImportedModel, ModelSection

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

IMAGE, TARGET = "image", "boxes"
#: The overlap from which a box counts as found while a model learns.
FOUND = 0.5
#: The served signature of what the network gives.
NETWORK = "network"
LABELS = {"map": "mAP", "map_50": "mAP at 0.5", "map_75": "mAP at 0.75"}


class ObjectDetection(Task, name="object_detection"):
    """The boxes of the things in an image, each with its class.

    Args:
        iou: boxes of one class that overlap more are one thing.
        most: boxes of an image, at most.
        score: boxes below are not measured: low, since COCO's numbers are about all of them.
        threshold: boxes below are not drawn and not said.
    """

    inputs, targets, split = {IMAGE: Image}, {TARGET: Boxes}, "random"
    metrics = (*(Metric(name=name, label=LABELS.get(name, ""), shown=name in LABELS) for name in STATISTICS),
               Metric(name=key_points.ERROR, better="lower", shown=False))
    watched = (Metric(name="found", label="boxes found"),)
    ranked, gives_boxes = True, True
    worst_caption = ("The best, the median and the worst test images by their own F1: what is true, and what the model "
                     "answers with its scores")
    iou: float = Field(0.6, gt=0, lt=1)
    most: int = Field(100, ge=1, le=1000)
    score: float = Field(0.001, ge=0, lt=1)
    threshold: float = Field(0.25, ge=0, lt=1)
    _model: ModelSection | None = PrivateAttr(None)

    def of_model(self, section: ModelSection) -> ObjectDetection:
        task = self.model_copy()
        task._model = section
        return task

    @property
    def loss(self) -> str:  # type: ignore[override]
        imported = self._model is None or self._model.imported is not None
        kind = None if imported else self._builder.reads
        if kind is None:  # refused later, with all else that does not go together
            return "detection"
        return next(str(loss.entry_name) for loss in Loss.choices.values()
                    if issubclass(loss, DetectorLoss) and issubclass(kind, loss.reads))

    @property
    def _builder(self) -> models.Builder:
        assert self._model is not None
        return models.builder(self._model.builder)

    def coding(self, image: tuple[int | None, ...]) -> BoxCoding:
        """Return how the network's boxes are read, which is the same for any number of classes.

        Args:
            image: its shape, (height, width, channels).
        """
        assert self._model is not None
        if (imported := self._model.imported) is not None:
            assert imported.head is not None
            return given.Centres((image[0] or 0, image[1] or 0), imported.head.places, imported.head.boxes)
        dimensions = {"input_shape": tuple(image), "classes": 1}
        return self._builder.coded(dimensions, self._model.settings)  # type: ignore[no-any-return]

    def dimensions(self, index: Index) -> dict[str, Any]:
        if absent := tools.missing("detection"):
            raise UserError(f"task: object_detection is measured by pycocotools: {absent}")
        for part, counts in index.counts.items():
            if not sum(counts.get(TARGET, [])):
                raise UserError(f"data: no image of the {part} split has a box; annotate some, or name another split")
        given, wanted = index.learnt[TARGET].points, self._coding_of(index).point_count
        if wanted not in (0, len(given)):
            raise UserError(f"model.points: {self._builder.name} gives {wanted} key points of a box, and the data have "
                            f"{len(given)}{': ' * bool(given)}{', '.join(given)}; set it to {len(given)}")
        return {"input_shape": index.inputs[IMAGE].shape, "classes": len(index.names(TARGET))}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        outputs = self._coding_of(index).outputs(len(index.names(TARGET)))
        return tuple(Tensor(name=name, dtype="float32", shape=one.shape, meaning=one.meaning)
                     for name, one in outputs.items())

    def objective(self, loss: Loss, index: Index) -> Objective:
        coding, size = self._coding_of(index), index.inputs[IMAGE].shape[:2]
        if not isinstance(loss, DetectorLoss) or not isinstance(coding, loss.reads):
            raise UserError(f"train.loss: {loss.entry_name} is not for the boxes of {self._builder.name}; leave it "
                            f"out, or give {self.loss}")
        return lambda inputs, targets, outputs: loss.of_images(coding, truth_of(targets[TARGET], size), outputs)

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        coding, size = self._coding_of(index), index.inputs[IMAGE].shape[:2]
        if isinstance(coding, given.Centres):
            return {}
        return {"found": lambda targets, outputs: share_found(coding, truth_of(targets[TARGET], size), outputs,
                                                              self.threshold)}

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return what the network gives, and beside it the boxes that are found, unless the file gives them itself.
        Of a file that decodes alone those are found that MediaPipe finds."""
        outputs = predictor.predict(inputs)
        if detections.BOXES in outputs:
            return outputs
        if REGRESSORS in outputs:
            return outputs | mediapipe.faces(outputs, most=self.most, score=self.score)
        if LOCATION in outputs:
            return outputs | mediapipe.found(outputs, most=self.most, score=self.score)
        coding = self.coding(inputs[IMAGE].shape[1:])
        return outputs | {name: value.numpy() for name, value in self._found(coding, outputs).items()}

    def measure(self, index: Index) -> Coco:
        height, width = index.inputs[IMAGE].shape[:2]
        return Coco(TARGET, index.names(TARGET), (height or 0, width or 0), self.threshold,
                    self._coding_of(index).point_count)

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        names, lines = index.names(TARGET), []
        for boxes, scores, classes in detections.of_images(outputs):
            said = [f"{names[number] if names else number} {score:.0%} at "
                    f"[{' '.join(f'{side:.3f}' for side in box)}]"
                    for box, score, number in zip(boxes, scores, classes, strict=True) if score >= self.threshold]
            lines.append("  ".join(said) or "nothing")
        return lines

    def write_answers(self, files: Sequence[Path], outputs: Arrays, index: Index, folder: Path) -> None:
        """Draw what is found on each image, and write it all into results.json as COCO has it."""
        points = index.learnt[TARGET].points if detections.KEY_POINTS in outputs else []
        drawn.write(files, detections.of_images(outputs), index.names(TARGET), self.threshold, folder,
                    outputs.get(detections.KEY_POINTS), points)

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        image = index.inputs[IMAGE].shape
        return (f"It finds things of {len(index.names(TARGET))} classes in images of {image[0]} x {image[1]} pixels. "
                f"On the held-out test images its mAP is {evaluation.metrics['map']:.3f}, "
                f"{evaluation.metrics['map_50']:.3f} at an overlap of one half.")

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return, for a server, `serving_default` and `serving_bytes` to the boxes that are found, and `network` to
        what the network gives."""
        functions = super().functions(model, data, place)
        if place == "device":
            return functions
        coding, network = self._coding_of(data.index), functions[0]
        return [*(self._finding(function, coding) for function in functions),
                dataclasses.replace(network, signature=network.signature.renamed(NETWORK))]

    def draw(self, axes: Axes, data: Data, inputs: Arrays, targets: Arrays, position: int,
             title: str | None = None) -> None:
        """Draw an example's boxes over its image."""
        super().draw(axes, data, inputs, targets, position, title)
        data.features[TARGET].draw(axes, targets[TARGET][position], data.index.learnt[TARGET])

    def draw_answers(self, data: Data, examples: Sequence[Answered], path: Path) -> None:
        """Draw each example twice: with what is true, and with what is answered."""
        image, learnt, names = data.features[IMAGE], data.index.learnt[IMAGE], data.index.names(TARGET)
        rows = []
        for one in examples:
            true = feature.held(one.targets[TARGET][0])
            boxes, scores, classes = next(detections.of_images(one.outputs))
            known = scores >= self.threshold
            rows.append((f"{one.rank}: F1 {1 - one.wrong:.2f}",
                         functools.partial(image.draw, value=one.inputs[IMAGE][0], learnt=learnt),
                         (true[:, :4], [names[int(number)] for number in true[:, feature.CLASS]]),
                         (boxes[known], [f"{names[number]} {score:.2f}" for number, score in
                                         zip(classes[known], scores[known], strict=True)])))
        detection.answers(rows, path)

    def compared(self, index: Index, given: Collection[str]) -> Compared:
        """Return how a file is compared: by what the network gives, or, where it gives boxes, or chooses its places
        itself, box by box."""
        if LOCATION in given or REGRESSORS in given:
            behind = dataclasses.replace(self.post_processing(index), form="decoded" if LOCATION in given else "faces")
            made = detection_file.decoded if LOCATION in given else detection_file.as_faces
            return Compared(behind.outputs, lambda outputs: {
                name: value.numpy() for name, value in made(behind, outputs).items()})
        coding = self._coding_of(index)
        if coding.places_are_fixed and RAW_LOGITS in given:
            return super().compared(index, given)
        tensors = [tensor for tensor in detections.tensors(self.most, coding.point_count)
                   if tensor.name in (*detections.NUMBERS, detections.KEY_POINTS) and (
                       tensor.name in given or RAW_LOGITS in given)]

        def found(outputs: Arrays) -> Arrays:
            return {name: value.numpy() for name, value in self._found(coding, outputs).items()}

        paired = functools.partial(detections.paired, iou=self.iou, score=self.score)
        return Compared(tensors, found, paired, found if RAW_LOGITS in given else lambda outputs: outputs)

    def post_processing(self, index: Index) -> PostProcessing:
        coding = self._coding_of(index)

        def decode(outputs: Mapping[str, Any]) -> tuple[Any, Any]:
            boxes, scores = detections.shares(coding, outputs), coding.scores(outputs)
            return (boxes, scores) if len(boxes.shape) == 3 else detections.one_class_each(boxes, scores)

        shapes = {tensor.name: tuple(size or 1 for size in tensor.shape) for tensor in self.outputs(index)}
        driver = detections.driver(coding, self.most, self.iou, self.threshold, index.learnt[TARGET].points)
        classes = len(index.names(TARGET))
        points = (lambda outputs: coding.read_points(outputs) / np.array(coding.size, "float32")) if (
            coding.point_count) else None
        return PostProcessing(driver, decode, shapes, coding.places(classes), classes, detections.tensors(self.most),
                              self.score, points=points)

    def adopt_graph(self, settings: ImportedModel, index: Index) -> bytes:
        """Return a detector made elsewhere as a TFLite file of this task's outputs, see `given`."""
        return given.adopted(settings, len(index.names(TARGET)), (RAW_BOXES, RAW_LOGITS))

    def decision(self, outputs: Arrays) -> np.ndarray:
        """Return how many boxes are found."""
        return np.array([(scores >= self.threshold).sum() for _, scores, _ in detections.of_images(outputs)])

    def decided(self, targets: Arrays) -> np.ndarray:
        return (targets[TARGET][..., feature.CLASS] >= 0).sum(axis=1)

    def expected(self, outputs: Arrays, index: Index) -> dict[str, str]:
        return {"boxes": self.in_words(outputs, index)[0]} if detections.BOXES in outputs else {}

    def _coding_of(self, index: Index) -> BoxCoding:
        return self.coding(index.inputs[IMAGE].shape)

    def _found(self, coding: BoxCoding, outputs: Any) -> dict[str, Any]:
        return detections.found(coding, outputs, most=self.most, iou=self.iou, score=self.score)

    def _finding(self, function: Function, coding: BoxCoding) -> Function:
        """Return the function that gives the boxes that are found in place of what the network gives."""
        def call(**tensors: Any) -> dict[str, Any]:
            return self._found(coding, function.call(**tensors))

        signature: Signature = function.signature
        given = detections.tensors(self.most, coding.point_count)
        return Function(signature.model_copy(update={"outputs": given}), call)


def truth_of(rows: Any, size: Sequence[int | None]) -> Truth:
    """Return what is true of a batch of images.

    Args:
        rows: (batch, most, 6), see `features.boxes`.
        size: height and width in pixels.
    """
    scale = tf.constant([size[0], size[1], size[0], size[1]], tf.float32)
    classes = tf.cast(rows[..., feature.CLASS], tf.int32)
    held, crowds = classes >= 0, rows[..., feature.CROWD] > 0.5
    points = None
    if count := (rows.shape[-1] - feature.COLUMNS) // feature.POINT:
        every = tf.reshape(rows[..., feature.COLUMNS:], (-1, rows.shape[1], count, feature.POINT))
        points = tf.concat([every[..., :2] * scale[:2], tf.cast(every[..., 2:3] > 0, tf.float32)], axis=-1)
    return Truth(rows[..., :feature.CLASS] * scale, tf.maximum(classes, 0), held & ~crowds, held & crowds, points)


def share_found(coding: BoxCoding, truth: Truth, outputs: Any, threshold: float) -> Any:
    """Return the share of an image's boxes that some place finds, of their class and with an overlap of one half,
    (batch,); 1 where there are none."""
    scores, boxes = coding.scores(outputs), coding.boxes(outputs)

    def of_images(scores: Any, boxes: Any, *parts: Any) -> tuple[Any]:
        return (_share_found(Truth(*parts), scores, boxes, threshold),)

    return image_by_image(of_images, (scores, boxes, *truth.parts), (tf.float32,),
                          truth.boxes.shape[1] * scores.shape[1])[0]


def _share_found(truth: Truth, scores: Any, boxes: Any, threshold: float) -> Any:
    """Return what `share_found` does, in as much memory as the whole batch takes."""
    of_class = tf.gather(tf.transpose(scores, [0, 2, 1]), truth.classes, axis=1, batch_dims=1)
    boxes = boxes[:, None] if len(boxes.shape) == 3 else tf.gather(
        tf.transpose(boxes, [0, 2, 1, 3]), truth.classes, axis=1, batch_dims=1)
    near = overlap(truth.boxes[:, :, None], boxes) >= FOUND
    found = tf.reduce_any(near & (of_class >= threshold), axis=-1) & truth.present
    count = tf.reduce_sum(tf.cast(truth.present, tf.float32), axis=-1)
    share = tf.math.divide_no_nan(tf.reduce_sum(tf.cast(found, tf.float32), axis=-1), count)
    return tf.where(count > 0, share, tf.ones_like(share))
