"""What the parts of data are called, in names of files, folders, columns and arrays."""
from __future__ import annotations

from collections.abc import Iterable

from pipelines.ingest.index import Part

#: Name, in small letters, to the part that it stands for.
PARTS: dict[str, Part] = {"train": "train", "training": "train", "trainval": "train", "val": "validation",
                          "valid": "validation", "validation": "validation", "test": "test", "testing": "test"}
#: What a part is written as, for people.
WRITTEN = "train, validation or test"
#: Names that may as well be those of classes: they stand for parts beside one to train on alone.
DOUBTFUL = {"valid", "testing"}


def part_of(name: str) -> Part | None:
    """Return the part that a name stands for, such as train, val2017 or instances_valid; None where it names none."""
    words = "".join(letter if letter.isalpha() else " " for letter in name.lower()).split()
    return next((PARTS[word] for word in reversed(words) if word in PARTS), None)


def folders_of_parts(names: Iterable[str]) -> dict[str, Part]:
    """Return the folders' names that stand for parts, with these."""
    found = {name: PARTS[name.lower()] for name in names if name.lower() in PARTS}
    if "train" in found.values():
        return found
    return {name: part for name, part in found.items() if name.lower() not in DOUBTFUL}
