"""The faces of pictures, cut out or turned upright by what a detector finds."""
from __future__ import annotations

import abc
import dataclasses
import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

from etils import epy

from export.delivery import manifest
from export.delivery.bundle import checksums
from export.delivery.pair import Pair
from export.predictors import Predictor, open_predictor
from export.signature import Arrays
from export.tflite.detection import KEY_POINTS, Decoding
from pipelines.errors import UserError
from pipelines.features.image import Image
from pipelines.tasks.face_recognition.alignment import Places, aligned
from pipelines.tasks.object_detection import detections
from pipelines.tasks.object_detection.task import TARGET, ObjectDetection
from pipelines.tools import predict

with epy.lazy_imports():
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Detector(abc.ABC):
    """A file that finds faces.

    Args:
        path: of the file.
        points: names of the key points that it gives of each face.
        threshold: boxes with a lower score count for nothing.
    """

    path: Path
    points: tuple[str, ...]
    threshold: float

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the file, or of those of a folder and their names."""
        if self.path.is_file():
            return manifest.sha256(self.path)
        return hashlib.sha256(checksums(self.path).encode()).hexdigest()

    def turns(self, places: Collection[str]) -> bool:
        """Return whether faces can be turned upright: two key points at least have places."""
        return len(set(self.points) & set(places)) > 1

    @abc.abstractmethod
    def find(self, files: Sequence[Path]) -> Arrays:
        """Return what is found in images, see `object_detection.detections`. Raises UserError."""


@dataclasses.dataclass(frozen=True)
class OfRun(Detector):
    """A detector in its run.

    Args:
        asked: the file, and what it was trained for.
    """

    asked: predict.Asked

    def find(self, files: Sequence[Path]) -> Arrays:
        predictor = opened(self.path)
        inputs = predict.read_inputs(self.asked, predict.main_signature(predictor), files)
        return self.asked.task.answer(predictor, inputs)


@dataclasses.dataclass(frozen=True)
class OfPair(Detector):
    """A detector beside a model of embeddings, see `export.delivery.pair`.

    Args:
        decoding: how its boxes are read.
    """

    decoding: Decoding

    def find(self, files: Sequence[Path]) -> Arrays:
        predictor = opened(self.path)
        tensor = predict.main_signature(predictor).inputs[0]
        feature = Image(size=self.decoding.size, channels=tensor.shape[2] or 3)
        outputs = predictor.predict({tensor.name: np.stack([feature.from_file(file, tensor) for file in files])})
        found = detections.found(detections.coding_of(self.decoding), outputs, most=self.decoding.most,
                                 iou=self.decoding.iou, score=self.threshold)
        return {name: value.numpy() for name, value in found.items()}


def detector_of(model: Path) -> Detector:
    """Return the detector that `--detector` stands for. Raises UserError."""
    asked = predict.find_model(model)
    if not isinstance(asked.task, ObjectDetection):
        raise UserError(f"--detector {model}: is not a detector in its run's folder; give a run of object_detection")
    return OfRun(asked.path, tuple(asked.index.learnt[TARGET].points), asked.task.threshold, asked)


def detector_of_pair(folder: Path, described: Pair) -> Detector:
    """Return the detector of a pair.

    Args:
        folder: of the pair.
        described: what it says of itself.
    """
    decoding = described.detector.decoding
    return OfPair(folder / described.detector.file, decoding.point_names, decoding.threshold, decoding)


def faces(detector: Detector, files: Sequence[Path], places: Places, size: tuple[int, int]) -> list[np.ndarray]:
    """Return the face of each image that a detector is surest of, uint8 (height, width, channels): turned upright where
    it gives key points whose places are known, else what is in the box, as large as it is.

    Args:
        places: where key points are to lie, by name.
        size: height and width of an upright face in pixels.

    Raises:
        UserError: nothing is found in an image.
    """
    found = detector.find(files)
    if not detector.turns(places) or KEY_POINTS not in found:
        return cut_out(files, found, detector.threshold)
    turned = []
    for file, one, points in zip(files, detections.of_images(found), found[KEY_POINTS], strict=True):
        _check_found(file, one[1], detector.threshold)
        image = Image().pixels(file)
        named = dict(zip(detector.points, map(tuple, (points[0] * image.shape[:2]).tolist()), strict=True))
        turned.append(aligned(image, named, places, size))
    return turned


def cut_out(files: Sequence[Path], found: Arrays, threshold: float) -> list[np.ndarray]:
    """Return the part of each image in its best box, uint8 (height, width, channels). Raises UserError at an image
    without a box.

    Args:
        found: what a detector answered, see `object_detection.detections`.
        threshold: boxes with a lower score count for nothing.
    """
    cut = []
    for file, (boxes, scores, _) in zip(files, detections.of_images(found), strict=True):
        _check_found(file, scores, threshold)
        cut.append(_cut(Image().pixels(file), boxes[0]))
    return cut


def opened(path: Path) -> Predictor:
    """Return what runs a file. Raises UserError where it is damaged."""
    try:
        return open_predictor(path)
    except ValueError as error:
        raise UserError(str(error)) from error


def _check_found(file: Path, scores: np.ndarray, threshold: float) -> None:
    """Raise UserError where nothing is found, the surest first."""
    if not len(scores) or scores[0] < threshold:
        raise UserError(f"{file}: has no face in it that the detector finds; take one nearer and from the front")


def _cut(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the part of an image in a box, ymin, xmin, ymax, xmax as shares of its sides; at least a pixel."""
    height, width = image.shape[:2]
    top, left = int(np.clip(box[0] * height, 0, height - 1)), int(np.clip(box[1] * width, 0, width - 1))
    bottom = max(top + 1, min(height, round(float(box[2]) * height)))
    right = max(left + 1, min(width, round(float(box[3]) * width)))
    return image[top:bottom, left:right]
