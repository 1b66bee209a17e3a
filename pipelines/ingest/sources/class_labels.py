"""Labels as people write them: words, one-hot rows, numbers from 0, or from elsewhere."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from etils import epy

from pipelines.errors import UserError

with epy.lazy_imports():
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes of some labels.

    Args:
        names: in their order.
        values: what each is written as, words or numbers.
    """

    names: list[str]
    values: list[str] | list[int]

    def numbers(self, labels: np.ndarray, where: str) -> np.ndarray:
        """Return which class each label is, int64 (examples,).

        A number that is of none stays as it is where classes are numbered from 0: ingest names the example.

        Args:
            labels: as `flat` gives them.
            where: they are, for messages.

        Raises:
            UserError: a word, or a number, is none of the classes.
        """
        if self.values == list(range(len(self.values))):
            return labels.astype("int64")
        numbers = {value: number for number, value in enumerate(self.values)}
        unknown = next((label for label in labels.tolist() if label not in numbers), None)
        if unknown is not None:
            shown = ", ".join(map(str, self.values[:5])) + (", …" if len(self.values) > 5 else "")
            raise UserError(f"data: {where} has the label {unknown}, which is none of the {len(self.values)} classes "
                            f"of the training part: {shown}")
        return np.array([numbers[label] for label in labels.tolist()], "int64")


def flat(labels: np.ndarray) -> np.ndarray:
    """Return labels as words or whole numbers, (examples,): of one-hot rows the position of the largest number.

    Args:
        labels: (examples,), (examples, 1), or one-hot (examples, classes).
    """
    if is_one_hot(labels):
        return labels.argmax(axis=1)
    column = labels.reshape(len(labels))
    if column.dtype.kind == "S":
        return np.char.decode(column, "utf-8", "replace")
    return column if column.dtype.kind == "U" else column.astype("int64")


def is_one_hot(labels: np.ndarray) -> bool:
    """Return whether labels are rows, (examples, classes)."""
    return labels.ndim == 2 and labels.shape[1] > 1


def classes_of(labels: np.ndarray, names: Sequence[str] | None = None) -> Classes:
    """Return the classes of a training part's labels.

    Words are in alphabetical order, and one-hot rows have a class per column. Numbers that start at 0 are classes up to
    the largest; of others, such as 1 to 5, those that occur are the classes, in their order.

    Args:
        labels: (examples,), (examples, 1), or one-hot (examples, classes).
        names: of the classes in their order, where they are given; of words the words themselves.
    """
    given = list(names) if names is not None else None
    values = flat(labels)
    if values.dtype.kind == "U":
        words = given or np.unique(values).tolist()
        return Classes(words, words)
    if is_one_hot(labels):
        return _counted(given or _as_words(range(labels.shape[1])))
    occurring = np.unique(values).tolist()
    smallest, largest = (occurring[0], occurring[-1]) if occurring else (0, -1)
    if given is None:
        starts_at_0 = smallest == 0 or (smallest < 0 and 0 in occurring)  # a number below 0 is then a mistake
        return _counted(_as_words(range(largest + 1))) if starts_at_0 else Classes(_as_words(occurring), occurring)
    if smallest >= 1 and largest == len(given):
        return Classes(given, list(range(1, len(given) + 1)))
    if largest > len(given) and len(occurring) == len(given):
        return Classes(given, occurring)
    return _counted(given)


def names_for(labels: np.ndarray, classes: int) -> list[str] | None:
    """Return the names of a model's classes where labels are numbers and not of all of them; None where the labels say
    it themselves.

    Args:
        labels: (examples,), (examples, 1), or one-hot.
        classes: that the model has.
    """
    values = flat(labels)
    if values.dtype.kind == "U" or not len(values) or len(classes_of(labels).names) == classes:
        return None
    if values.min() >= 0 and values.max() < classes:
        return _as_words(range(classes))
    return _as_words(range(1, classes + 1)) if values.min() >= 1 and values.max() == classes else None


def _counted(names: list[str]) -> Classes:
    return Classes(names, list(range(len(names))))


def _as_words(numbers: Sequence[int]) -> list[str]:
    return [str(number) for number in numbers]
