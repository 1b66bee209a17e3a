"""The boxes of two answers, row by row the same things."""
from __future__ import annotations

from collections.abc import Sequence

from etils import epy

from export.signature import Arrays
from export.tflite.detection import BOXES, CLASSES, COUNT, HALF, KEY_POINTS, OUTPUTS, overlaps

with epy.lazy_imports():
    import numpy as np


def paired(outputs: Arrays, expected: Arrays) -> Arrays:
    """Return an answer with its boxes in the order of what is expected; other answers as they are.

    Boxes come best first, and two of nearly the same score change places by rounding. Each expected box has the box of
    its class that overlaps it most, by half at least, of those that are left; what is left over fills the other rows in
    its own order, so that a box that is missing, or in another place, shows.

    Args:
        outputs, expected: by name, (samples, …); with boxes by the names of `export.tflite.detection.OUTPUTS`.
    """
    if not all(name in expected and name in outputs and np.shape(outputs[name]) == np.shape(expected[name])
               for name in OUTPUTS):
        return outputs
    orders = [_order(*(np.asarray(answer[name])[number] for answer in (outputs, expected)
                       for name in (BOXES, CLASSES, COUNT)))
              for number in range(len(expected[BOXES]))]
    rows = {name: np.stack([np.asarray(outputs[name])[number, order] for number, order in enumerate(orders)])
            for name in (*OUTPUTS, KEY_POINTS) if name != COUNT and name in outputs}
    return {**outputs, **rows}


def _order(boxes: np.ndarray, classes: np.ndarray, count: np.ndarray, expected: np.ndarray, kinds: np.ndarray,
           known: np.ndarray) -> Sequence[int]:
    """Return which row stands in the place of each expected one.

    Args:
        boxes, classes, count: of an image's answer: (most, 4), (most,) and ().
        expected, kinds, known: the same of what is expected.
    """
    free, order = list(range(len(boxes))), [-1] * len(boxes)
    for row in range(int(known)):
        able = [one for one in free if one < count and classes[one] == kinds[row]]
        near = overlaps(expected[row], boxes[able])
        if len(able) and near.max() >= HALF:
            order[row] = able[int(near.argmax())]
            free.remove(order[row])
    return [free.pop(0) if row < 0 else row for row in order]
