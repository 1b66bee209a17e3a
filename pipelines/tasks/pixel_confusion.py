"""What segmentation is worth: how many pixels of each class were taken for each, and what follows from that."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.features.mask import VOID
from pipelines.figures import figures
from pipelines.tasks.surfaces import METRICS, Surfaces
from pipelines.tasks.task import Evaluation, Figure, Table, rounded

with epy.lazy_imports():
    import numpy as np

#: Classes that the model card names as the weakest.
NAMED = 3


class PixelConfusion:
    """Adds up a confusion matrix of pixels, classes x classes numbers whatever the size of the test set. Pixels of no
    class are left out.

    Args:
        target: name of the mask.
        output: name of the logits.
        names: of the classes.
        surfaces: measures distances beside, where they are asked for.
        limits: what else to know of the figures.
    """

    def __init__(self, target: str, output: str, names: Sequence[str], surfaces: Surfaces | None = None,
                 limits: Sequence[str] = ()):
        self.target = target
        self.output = output
        self.names = list(names)
        self.surfaces = surfaces
        self.limits = list(limits)
        #: Pixels by true class (rows) and answered class (columns).
        self.matrix = np.zeros((len(names), len(names)), np.int64)

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take a batch; return how far each example's own mean IoU is from 1, (batch,): NaN where no pixel of it has a
        class."""
        answers = outputs[self.output].argmax(axis=-1)
        matrices = confusion(targets[self.target], answers, len(self.names))
        if self.surfaces is not None:
            self.surfaces.add(targets[self.target], answers)
        self.matrix += matrices.sum(axis=0)
        return 1 - mean_of_present(*overlap(matrices))

    def result(self, folder: Path | None = None) -> Evaluation:
        """Return mean IoU and mean Dice over the classes that occur in truth or answer, the share of right pixels, the
        distances, and a table by class."""
        shared, union = overlap(self.matrix)
        occurs = union > 0
        iou = shared / np.maximum(union, 1)
        dice = 2 * shared / np.maximum(shared + union, 1)  # the sum of both areas is their overlap and their union
        pixels = self.matrix.sum(axis=1)
        by_class = [iou, dice, *(self.surfaces.by_class().T if self.surfaces is not None else [])]
        rows: list[list[str | int | float]] = [
            [name, int(pixels[number]), *(round(float(values[number]), 6) if occurs[number] else "–"
                                          for values in by_class)]
            for number, name in enumerate(self.names)]
        columns = ["class", "test pixels", "IoU", "Dice"]
        values = {"mean_iou": iou[occurs].mean() if occurs.any() else 0.0,
                  "dice": dice[occurs].mean() if occurs.any() else 0.0,
                  "pixel_accuracy": np.trace(self.matrix) / max(1, self.matrix.sum())}
        if self.surfaces is not None:
            columns += [metric.title for metric in METRICS]
            values |= self.surfaces.metrics()
        return Evaluation(
            metrics=rounded(values), figures=self._draw(folder) if folder is not None else [],
            tables=[Table(title="Classes", columns=columns, rows=rows)],
            limits=[f"Weakest classes (IoU): {self._weakest(iou, occurs)}.",
                    "It gives every pixel one of its classes, whatever the image shows: other images than those it was "
                    "trained on need a check of their own.",
                    "The figures hold for data like the test set's. Images from another device, site or population "
                    "must be measured first.", *self.limits])

    def _weakest(self, iou: np.ndarray, occurs: np.ndarray) -> str:
        order = [number for number in np.argsort(iou, kind="stable") if occurs[number]]
        return ", ".join(f"{self.names[number]} {iou[number]:.3f}" for number in order[:NAMED])

    def _draw(self, folder: Path) -> list[Figure]:
        shares = self.matrix / np.maximum(1, self.matrix.sum(axis=1, keepdims=True))
        figures.confusion(np.round(100 * shares, 1), self.names, folder / "confusion.png")
        return [Figure(file="confusion.png", caption="Percent of the pixels of each true class (rows) by predicted "
                                                     "class (columns)")]


def confusion(truth: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    """Return the confusion matrices of masks, int64 (batch, classes, classes), true classes in their rows.

    Args:
        truth, answer: classes, (batch, height, width); pixels whose truth is 255 are left out.
    """
    known = truth != VOID
    examples = np.broadcast_to(np.arange(len(truth))[:, None, None], truth.shape)[known]
    cells = (examples * classes + truth[known]) * classes + answer[known]
    counts = np.bincount(cells, minlength=len(truth) * classes * classes)
    return counts.reshape(len(truth), classes, classes)


def overlap(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels in the overlap of truth and answer, and those in their union, of each class.

    Args:
        matrices: (..., classes, classes).

    Returns:
        Two arrays (..., classes).
    """
    shared = np.diagonal(matrices, axis1=-2, axis2=-1)
    return shared, matrices.sum(axis=-1) + matrices.sum(axis=-2) - shared


def mean_of_present(shared: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Return the mean IoU over the classes that occur, (..., classes) to (...); nan where none does."""
    occurs = union > 0
    total = np.where(occurs, shared / np.maximum(union, 1), 0.0).sum(axis=-1)
    count = occurs.sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
