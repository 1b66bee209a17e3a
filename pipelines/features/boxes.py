"""Boxes: where things are in an image, of which class each is, and where its key points are."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import Field as Setting
from pydantic_core import PydanticCustomError

from export.signature import Tensor
from pipelines.features.feature import Feature, Field, Learnt
from pipelines.features.image import Image
from pipelines.features.image_decoding import FIRST_LYING, MIRRORED, UPSIDE_DOWN
from pipelines.figures import detection

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What a row of boxes holds: the sides as shares of the image's height and width, the class, and whether it stands for
#: a crowd, which is neither learnt nor missed.
YMIN, XMIN, YMAX, XMAX, CLASS, CROWD = range(6)
COLUMNS = 6
#: What behind it each key point has: y and x as shares of the image, and whether it is marked. Once it is read it has
#: one number more: the place of the key point that it is in a mirror image.
GIVEN_POINT, POINT = 3, 4
#: What names of key points begin with that change places in a mirror image.
LEFT, RIGHT = "left_", "right_"
#: The class of a row that holds no box.
NONE = -1.0
#: What may be wrong with boxes; and how it is said of one of them.
NO_NUMBER, UNKNOWN, SWAPPED, OUTSIDE, EMPTY = (
    "with a side that is no number", "of an unknown class", "with sides swapped", "outside the image", "of no area")
IN_WORDS = {NO_NUMBER: NO_NUMBER, SWAPPED: "whose sides are swapped", EMPTY: EMPTY}
#: A side may be off the image by so much of it, as rounding makes it; it is cut there.
SLACK = 0.005


class Boxes(Feature, name="boxes", shorthand="most"):
    """The boxes of an image: float32 (most, 6), each row ymin, xmin, ymax, xmax as shares of the image, class, crowd.

    Rows behind the last box have the class -1. Where the source has key points, such as the eyes of a face, four more
    numbers for each are behind them: y, x, whether it is marked, and which one it is in a mirror image.

    Args:
        most: boxes of one image, at most.
    """

    role, accepts, counts_faults, counts_raw = "boxes", ("boxes",), True, True
    most: int = Setting(100, ge=1, le=10_000)

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        """Return the boxes as they are. Raises PydanticCustomError beside an image that is padded or cut."""
        for name, other in others.items():
            if isinstance(other, Image) and other.fit != "resize":
                raise PydanticCustomError("combination", "fit is {fit}, and boxes are shares of the whole image: leave "
                                          "it out, and images are resized", {
                                              "fit": other.fit, "at": ["data", name, "fit"]})
        return self

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        points = f"; then y, x, marked and mirrored place of {', '.join(learnt.points)}" if learnt.points else ""
        return Tensor(name=name, dtype="float32", shape=(self.most, COLUMNS + POINT * len(learnt.points)),
                      role="boxes", meaning="ymin, xmin, ymax, xmax as shares of the image, class, 1 for a crowd; "
                                            f"class -1: no box{points}")

    def learn(self, field: Field, values: Iterable[np.ndarray]) -> Learnt:
        return Learnt(names=field.names or [], points=field.points or [])

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        """Return what is wrong with the first box that cannot be: of no area, outside the image, of no class."""
        if len(value) > self.most:
            return f"has {len(value)} boxes; raise data.boxes.most, which is {self.most}, or take some out"
        rows = np.asarray(value, float) if len(value) else np.zeros((0, COLUMNS))
        wrong = np.flatnonzero(np.any(list(faults(rows, len(learnt.names)).values()), axis=0))
        if not len(wrong):
            return None
        return f"has a box, the {wrong[0] + 1}. of {len(rows)}, {_fault(rows[wrong[0]], len(learnt.names))}"

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return boxes cut to the image, and filled up to `most` rows."""
        parts = [tf.clip_by_value(value[:, :CLASS], 0.0, 1.0), value[:, CLASS:COLUMNS]]
        count, points = tf.shape(value)[0], len(learnt.points)
        if points:
            places = tf.tile(tf.constant(mirrored(learnt.points), tf.float32)[None, :, None], [count, 1, 1])
            given = tf.reshape(value[:, COLUMNS:], (count, points, GIVEN_POINT))
            parts.append(tf.reshape(tf.concat([given, places], axis=2), (count, points * POINT)))
        boxes = tf.pad(tf.concat(parts, axis=1), [[0, self.most - count], [0, 0]], constant_values=NONE)
        return tf.ensure_shape(boxes, (self.most, COLUMNS + POINT * points))

    def counts(self, values: np.ndarray, learnt: Learnt) -> np.ndarray:
        """Return how many boxes there are of each class, without crowds."""
        classes = values[..., CLASS][(values[..., CLASS] >= 0) & (values[..., CROWD] == 0)]
        return np.bincount(classes.astype(int), minlength=len(learnt.names))

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        """Draw boxes over the image that is drawn already."""
        rows = held(value)
        detection.boxes(axes, rows[:, :CLASS], [learnt.names[int(one)] for one in rows[:, CLASS]])
        if learnt.points:
            detection.points(axes, marked_points(rows))

    def in_words(self, value: np.ndarray, learnt: Learnt) -> str:
        count = len(held(value))
        return f"{count} box" + ("" if count == 1 else "es")


def held(rows: np.ndarray) -> np.ndarray:
    """Return the rows (most, …) that hold a box."""
    return rows[rows[:, CLASS] >= 0]


def mirrored(names: Sequence[str]) -> list[int]:
    """Return the place of the key point that each is in a mirror image: left_eye that of right_eye and so on."""
    other = {LEFT: RIGHT, RIGHT: LEFT}
    twins = [next((other[side] + name.removeprefix(side) for side in other if name.startswith(side)), name)
             for name in names]
    return [names.index(twin) if twin in names else place for place, twin in enumerate(twins)]


def points_of(rows: Any) -> Any:
    """Return the key points of boxes as they are once read, (…, boxes, points, 4)."""
    shape = tuple(rows.shape)
    return rows[..., COLUMNS:].reshape(*shape[:-1], (shape[-1] - COLUMNS) // POINT, POINT)


def marked_points(rows: np.ndarray) -> np.ndarray:
    """Return the key points that are marked, y and x as shares of the image, (points, 2)."""
    every = points_of(rows).reshape(-1, POINT)
    return every[every[:, 2] > 0, :2]


def turned(rows: np.ndarray, orientation: int) -> np.ndarray:
    """Return boxes (boxes, …), as a source gives them, of an image as it lies in its file as those of the image
    upright, float32.

    Args:
        orientation: EXIF's, 1 to 8, see `features.image_decoding.turned`.
    """
    sides = rows[:, :CLASS]
    if orientation >= FIRST_LYING:
        sides = sides[:, [XMIN, YMIN, XMAX, YMAX]]
    if orientation in UPSIDE_DOWN:
        sides = np.stack([1 - sides[:, YMAX], sides[:, XMIN], 1 - sides[:, YMIN], sides[:, XMAX]], axis=1)
    if orientation in MIRRORED:
        sides = np.stack([sides[:, YMIN], 1 - sides[:, XMAX], sides[:, YMAX], 1 - sides[:, XMIN]], axis=1)
    y, x, marked = (rows[:, COLUMNS + place::GIVEN_POINT] for place in range(GIVEN_POINT))
    if orientation >= FIRST_LYING:
        y, x = x, y
    points = np.stack([1 - y if orientation in UPSIDE_DOWN else y, 1 - x if orientation in MIRRORED else x, marked],
                      axis=-1)
    return np.concatenate([sides, rows[:, CLASS:COLUMNS], points.reshape(len(rows), -1)], axis=1).astype("float32")


def faults(rows: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Return which boxes (boxes, 6) cannot be, by what is wrong with them: of each the first that is.

    Args:
        classes: how many there are.
    """
    sides, numbers = np.nan_to_num(rows[:, :CLASS]), rows[:, CLASS]
    cut = np.clip(sides, 0, 1)
    wrong = {NO_NUMBER: ~np.isfinite(rows).all(axis=1), UNKNOWN: ~((numbers >= 0) & (numbers < classes)),
             SWAPPED: (sides[:, YMAX] < sides[:, YMIN]) | (sides[:, XMAX] < sides[:, XMIN]),
             OUTSIDE: (sides < -SLACK).any(axis=1) | (sides > 1 + SLACK).any(axis=1),
             EMPTY: (cut[:, YMAX] <= cut[:, YMIN]) | (cut[:, XMAX] <= cut[:, XMIN])}
    known = np.zeros(len(rows), bool)
    for kind, found in wrong.items():
        wrong[kind], known = found & ~known, known | found
    return wrong


def _fault(row: np.ndarray, classes: int) -> str | None:
    """Return what is wrong with a box; None where nothing is."""
    kind = next((kind for kind, found in faults(row[None], classes).items() if found[0]), None)
    if kind == UNKNOWN:
        return f"of class {row[CLASS]:g}, but there are {classes} classes, 0 to {classes - 1}"
    if kind == OUTSIDE:
        return f"that is outside the image: {', '.join(f'{side:.3f}' for side in row[:CLASS])}"
    return IN_WORDS.get(kind or "")
