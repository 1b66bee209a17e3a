"""What a detector is worth: COCO's numbers, by COCO's own tools."""
from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.signature import Arrays
from export.tflite.detection import overlaps
from pipelines.features import boxes as feature
from pipelines.figures import detection, figures
from pipelines.tasks.evaluation import Evaluation, Figure, Table, rounded
from pipelines.tasks.object_detection import detections
from pipelines.tasks.object_detection.key_points import KeyPoints

with epy.lazy_imports():
    import numpy as np
    from pycocotools import coco, cocoeval

#: COCO's twelve numbers, in the order of its summary.
STATISTICS = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "recall_1", "recall_10", "recall_100",
              "recall_small", "recall_medium", "recall_large")
#: The overlap from which a box counts as found where one is asked for, and its place among COCO's.
FOUND, AT_FOUND = 0.5, 0
#: All sizes, and 100 boxes an image, among COCO's settings.
ALL_SIZES, ALL_BOXES = 0, 2
#: Sizes of boxes, and their places among COCO's.
SIZES = {"small": 1, "medium": 2, "large": 3}
#: Classes that the model card names as the weakest, and kinds of mistakes that the report lists.
NAMED, MISTAKES = 3, 20
BACKGROUND = "background"


class Coco:
    """Collects boxes, and has pycocotools compare them; some 100 bytes for each box of the test set.

    Args:
        target: name of the true boxes.
        names: of the classes.
        size: height and width that boxes are measured in, in pixels: COCO's small is below 32 x 32, large above
            96 x 96.
        score: from which a box counts for how wrong one image is.
        points: key points of a box, 0 where none are answered.
    """

    def __init__(self, target: str, names: Sequence[str], size: tuple[int, int], score: float, points: int = 0):
        self.target = target
        self.names = list(names)
        self.scale = np.array([size[0], size[1], size[0], size[1]], float)
        self.score = score
        self.images = 0
        self.truth: list[np.ndarray] = []
        self.answers: list[np.ndarray] = []
        self.points = KeyPoints((size[0], size[1]), score) if points else None

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take a batch; return how far each image's F1 is from 1, (batch,)."""
        wrong = []
        if self.points is not None and detections.KEY_POINTS in outputs:
            self.points.add(targets[self.target], outputs)
        for rows, (boxes, scores, classes) in zip(targets[self.target], detections.of_images(outputs), strict=True):
            true = feature.held(rows)
            image = np.full(len(true), self.images)
            self.truth.append(np.column_stack([image, true[:, :4] * self.scale, true[:, 4:feature.COLUMNS]]))
            image = np.full(len(boxes), self.images)
            self.answers.append(np.column_stack([image, boxes * self.scale, scores, classes]))
            known = scores >= self.score
            wrong.append(1 - f1(true, boxes[known], classes[known]))
            self.images += 1
        return np.array(wrong)

    def result(self, folder: Path | None = None) -> Evaluation:
        """Return COCO's numbers, AP by class, precision over recall, the best threshold, and what is taken for what."""
        truth = np.concatenate(self.truth) if self.truth else np.zeros((0, 7))
        answers = np.concatenate(self.answers) if self.answers else np.zeros((0, 7))
        by_class = self._evaluated(truth, answers, use_classes=True)
        values = {name: value for name, value in zip(STATISTICS, by_class.stats, strict=True) if value >= 0}
        curve = Curve(by_class)
        values |= {"map": values.get("map", 0.0), "map_50": values.get("map_50", 0.0),
                   "map_75": values.get("map_75", 0.0), "best_threshold": curve.threshold, "best_f1": curve.f1}
        if self.points is not None:
            values |= self.points.result()
        precision = by_class.eval["precision"][..., ALL_SIZES, ALL_BOXES]
        counts = np.bincount(truth[truth[:, 6] == 0, 5].astype(int), minlength=len(self.names))
        of_sizes = [by_class.eval["precision"][..., size, ALL_BOXES] for size in SIZES.values()]
        rows: list[list[str | int | float]] = [
            [name, int(counts[number]), *(_mean(precision[kind, :, number]) for kind in (slice(None), AT_FOUND)),
             *(_mean(of_size[:, :, number]) for of_size in of_sizes)]
            for number, name in enumerate(self.names)]
        curves = {name: precision[AT_FOUND, :, number] for number, name in enumerate(self.names)}
        matrix = self._confusion(truth, answers, curve.threshold)
        return Evaluation(
            metrics=rounded(values), figures=self._draw(folder, curve, curves, matrix) if folder is not None else [],
            tables=[Table(title="Classes", columns=["class", "test boxes", "AP", "AP at 0.5",
                                                    *(f"AP {size}" for size in SIZES)], rows=rows),
                    Table(title="Taken for another, missed and made up, at the best threshold",
                          columns=["true", "taken for", "boxes"], rows=self._mistakes(matrix))],
            limits=[f"Weakest classes (AP): {_weakest(rows)}.",
                    f"Boxes with a score of {curve.threshold:.2f} and more are the best compromise on the test set: "
                    f"F1 {curve.f1:.3f} at an overlap of {FOUND}.",
                    "The figures hold for data like the test set's. Images from another device, site or season must be "
                    "measured first."])

    def _evaluated(self, truth: np.ndarray, answers: np.ndarray, use_classes: bool) -> Any:
        """Return pycocotools' evaluation."""
        with contextlib.redirect_stdout(io.StringIO()):
            known = coco.COCO()
            known.dataset = {
                "info": {}, "images": [{"id": number} for number in range(self.images)],
                "categories": [{"id": number} for number in range(len(self.names))],
                "annotations": [_annotation(number + 1, row) for number, row in enumerate(truth)]}
            known.createIndex()
            sides = np.column_stack([answers[:, 0], answers[:, 2], answers[:, 1], answers[:, 4] - answers[:, 2],
                                     answers[:, 3] - answers[:, 1], answers[:, 5:]])
            given = known.loadRes(sides) if len(sides) else coco.COCO()
            if not len(sides):
                given.dataset = {**known.dataset, "annotations": []}
                given.createIndex()
            evaluation = cocoeval.COCOeval(known, given, "bbox")
            evaluation.params.useCats = int(use_classes)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation

    def _confusion(self, truth: np.ndarray, answers: np.ndarray, threshold: float) -> np.ndarray:
        """Return how many boxes of each true class (rows) were taken for each class (columns); the last of both is the
        background: found where nothing is, and missed."""
        classes = len(self.names)
        matrix = np.zeros((classes + 1, classes + 1), int)
        known = answers[answers[:, 5] >= threshold]
        for image in self._evaluated(truth, known, use_classes=False).evalImgs:
            if image is None or image["aRng"][0] or image["aRng"][1] < 1e9:
                continue
            matched, ignored = image["dtMatches"][AT_FOUND], image["dtIgnore"][AT_FOUND]
            for one, owner, skipped in zip(image["dtIds"], matched, ignored, strict=True):
                if not skipped:
                    row = int(truth[int(owner) - 1, 5]) if owner else classes
                    matrix[row, int(known[one - 1, 6])] += 1
            for one, answered, skipped in zip(image["gtIds"], image["gtMatches"][AT_FOUND], image["gtIgnore"],
                                              strict=True):
                if not skipped and not answered:
                    matrix[int(truth[one - 1, 5]), classes] += 1
        return matrix

    def _mistakes(self, matrix: np.ndarray) -> list[list[str | int | float]]:
        """Return the most frequent mistakes: true class, what it was taken for, how often."""
        names = [*self.names, BACKGROUND]
        found = [[names[row], names[column], int(matrix[row, column])] for row, column in np.argwhere(matrix)
                 if row != column]
        return sorted(found, key=lambda one: -int(one[2]))[:MISTAKES]

    def _draw(self, folder: Path, curve: Curve, curves: dict[str, np.ndarray], matrix: np.ndarray) -> list[Figure]:
        detection.precision_recall(curve.recall, curve.precision, curve.at, folder / "precision_recall.png", curves)
        figures.confusion(matrix, [*self.names, BACKGROUND], folder / "confusion.png")
        return [Figure(file="precision_recall.png",
                       caption=f"Precision over recall at an overlap of {FOUND}, all classes together and each by "
                               f"itself; the point is the best threshold, {curve.threshold:.2f}"),
                Figure(file="confusion.png",
                       caption="Boxes of each true class (rows) by predicted class (columns), at the best threshold")]


class Curve:
    """Precision and recall over all thresholds, of all classes together, at an overlap of one half.

    Args:
        evaluation: pycocotools', of single classes.
    """

    def __init__(self, evaluation: Any):
        images = [one for one in evaluation.evalImgs if one is not None and one["aRng"][0] == 0
                  and one["aRng"][1] > 1e9]
        scores, right = np.zeros(0), np.zeros(0, bool)
        if images:
            counted = [~one["dtIgnore"][AT_FOUND].astype(bool) for one in images]
            scores = np.concatenate([np.asarray(one["dtScores"], float)[keep]
                                     for one, keep in zip(images, counted, strict=True)])
            right = np.concatenate([(one["dtMatches"][AT_FOUND] > 0)[keep]
                                    for one, keep in zip(images, counted, strict=True)])
        boxes = sum(int((1 - np.asarray(one["gtIgnore"])).sum()) for one in images)
        order = np.argsort(-scores, kind="stable")
        hits = np.cumsum(right[order])
        self.precision = hits / np.arange(1, len(order) + 1)
        self.recall = hits / max(boxes, 1)
        f1s = 2 * hits / (np.arange(1, len(order) + 1) + max(boxes, 1))
        #: The place of the best threshold in the curve; 0 where nothing was answered.
        self.at = int(f1s.argmax()) if len(f1s) else 0
        self.f1 = float(f1s[self.at]) if len(f1s) else 0.0
        self.threshold = float(scores[order[self.at]]) if len(f1s) else 1.0


def f1(truth: np.ndarray, boxes: np.ndarray, classes: np.ndarray) -> float:
    """Return the F1 of one image: 1 where all is found and nothing else, at an overlap of one half.

    An answer that finds nothing, and half of which is in a crowd of its class, does not count, as COCO has it.

    Args:
        truth: (boxes, 6), see `features.boxes`.
        boxes, classes: the answer, best first.
    """
    crowds, truth = truth[truth[:, feature.CROWD] > 0], truth[truth[:, feature.CROWD] == 0]
    taken, ignored = np.zeros(len(truth), bool), 0
    for box, number in zip(boxes, classes, strict=True):
        overlap = np.where(taken | (truth[:, feature.CLASS] != number), 0.0, overlaps(box, truth[:, :4]))
        if len(overlap) and overlap.max() >= FOUND:
            taken[overlap.argmax()] = True
        else:
            ignored += _in_a_crowd(box, crowds[crowds[:, feature.CLASS] == number, :4])
    total = len(truth) + len(boxes) - ignored
    return 2 * taken.sum() / total if total else 1.0


def _in_a_crowd(box: np.ndarray, crowds: np.ndarray) -> bool:
    """Return whether half of a box is in one of the crowds, (crowds, 4)."""
    sides = np.maximum(np.minimum(box[2:], crowds[:, 2:]) - np.maximum(box[:2], crowds[:, :2]), 0)
    return bool((sides.prod(axis=1) >= FOUND * (box[2:] - box[:2]).prod()).any())


def _annotation(number: int, row: np.ndarray) -> dict[str, Any]:
    """Return a true box as COCO writes it; numbers of annotations begin with 1, since 0 stands for none."""
    image, ymin, xmin, ymax, xmax, category, crowd = row.tolist()
    return {"id": number, "image_id": int(image), "category_id": int(category), "iscrowd": int(crowd),
            "bbox": [xmin, ymin, xmax - xmin, ymax - ymin], "area": (xmax - xmin) * (ymax - ymin)}


def _mean(precision: np.ndarray) -> float | str:
    """Return the mean of precisions, where there are boxes of the class."""
    known = precision[precision > -1]
    return round(float(known.mean()), 6) if known.size else "–"


def _weakest(rows: Sequence[Sequence[Any]]) -> str:
    known = sorted((row for row in rows if isinstance(row[2], float)), key=lambda row: row[2])
    return ", ".join(f"{row[0]} {row[2]:.3f}" for row in known[:NAMED])
