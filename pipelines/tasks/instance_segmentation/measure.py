"""What separated things are worth: the metric of the 2018 Data Science Bowl, and how well they are counted."""
from __future__ import annotations

from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.tasks.evaluation import Evaluation, Table, rounded

with epy.lazy_imports():
    import numpy as np

#: The overlaps (IoU) from which on a thing counts as found.
THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


class Separation:
    """Adds up, image by image, how many things are found, missed and made up at each overlap.

    Args:
        target: name of the true numbers, and of the answered ones.
    """

    def __init__(self, target: str):
        self.target = target
        #: Of each image and overlap: found, made up, missed, (images, thresholds, 3).
        self.counts: list[np.ndarray] = []
        self.pixels = np.zeros(3, np.int64)

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take a batch; return how far each image's own metric is from 1, (batch,)."""
        wrong = []
        for truth, answer in zip(targets[self.target], outputs[self.target], strict=True):
            counts = found(overlaps(truth, answer))
            self.counts.append(counts)
            self.pixels += [int(((truth > 0) & (answer > 0)).sum()), int((truth > 0).sum()), int((answer > 0).sum())]
            wrong.append(1 - precision(counts).mean())
        return np.array(wrong)

    def result(self, folder: Path | None = None) -> Evaluation:
        """Return the metric, the error of the count, and a table by overlap."""
        counts = np.array(self.counts)
        by_image = precision(counts)
        at = {name: THRESHOLDS.index(value) for name, value in (("ap_50", 0.5), ("ap_75", 0.75))}
        true, answered = (counts[:, 0, [0, other]].sum(axis=-1) for other in (2, 1))
        both, one, other = (int(number) for number in self.pixels)
        values = {"ap": by_image.mean(), **{name: by_image[:, place].mean() for name, place in at.items()},
                  "count_error": np.abs(answered - true).mean(), "pixel_dice": 2 * both / max(one + other, 1)}
        rows: list[list[str | int | float]] = []
        for place, threshold in enumerate(THRESHOLDS):
            hits, made_up, missed = (int(number) for number in counts[:, place].sum(axis=0))
            rows.append([threshold, hits, missed, made_up, round(hits / max(hits + made_up, 1), 4),
                         round(hits / max(hits + missed, 1), 4), round(float(by_image[:, place].mean()), 4)])
        return Evaluation(
            metrics=rounded(values),
            tables=[Table(title="Things by overlap",
                          columns=["IoU above", "found", "missed", "made up", "precision", "recall", "AP"], rows=rows)],
            limits=[f"Of {int(true.sum()):,} things in the test set {rows[0][1]:,} are found with an overlap above one "
                    f"half; {rows[0][2]:,} are missed, {rows[0][3]:,} made up.",
                    "Things that cover each other, or lie in each other, are not told apart.",
                    "The figures hold for data like the test set's. Images from another device, site or preparation "
                    "must be measured first."])


def overlaps(truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Return the IoU of each true thing with each answered one, (things, answers).

    Args:
        truth, answer: numbers of things, (height, width); 0 is none.
    """
    _, true = np.unique(truth, return_inverse=True)
    _, given = np.unique(answer, return_inverse=True)
    true = true.ravel() + (1 if truth.min() > 0 else 0)  # so that 0 is none, in images without any such pixel too
    given = given.ravel() + (1 if answer.min() > 0 else 0)
    shared = np.zeros((true.max() + 1, given.max() + 1), np.int64)
    np.add.at(shared, (true, given), 1)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0, keepdims=True) - shared
    return (shared / np.maximum(union, 1))[1:, 1:]


def found(iou: np.ndarray) -> np.ndarray:
    """Return how many things are found, made up and missed at each of `THRESHOLDS`, int (thresholds, 3).

    Of two that overlap by more than a half neither overlaps another as much, so that nothing is found twice.

    Args:
        iou: as `overlaps` gives it.
    """
    hits = np.array([(iou > threshold).sum() for threshold in THRESHOLDS])
    return np.stack([hits, iou.shape[1] - hits, iou.shape[0] - hits], -1)


def precision(counts: np.ndarray) -> np.ndarray:
    """Return found / (found + made up + missed), (..., 3) to (...); 1 where there is nothing and nothing is answered.

    The mean over the overlaps and then over the images is the metric of the 2018 Data Science Bowl (Caicedo et al.,
    "Nucleus segmentation across imaging experiments", Nature Methods 2019).
    """
    total = counts.sum(axis=-1)
    return np.where(total > 0, counts[..., 0] / np.maximum(total, 1), 1.0)
