"""Images with boxes as YOLO's tools write them."""
from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field as Setting
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.ingest.index import Part
from pipelines.ingest.sources.annotated_areas import CORNERS, AnnotatedAreas, Area
from pipelines.ingest.sources.annotated_images import Annotated, Listed
from pipelines.ingest.sources.part_names import PARTS

SETTING = "data.source.yolo"
Box = tuple[float, float, float, float, float, float]
#: A box, see `features.boxes`, and the polygon that it is around, x, y, x, y, …; empty where it is a box alone.
Line = tuple[Box, list[float]]


class Yolo(AnnotatedAreas, name="yolo", shorthand="path"):
    """Images in `images/`, a text file each in `labels/`, as a data.yaml lists them: lines of class, centre x and y,
    width and height, as shares of the image.

    Lines of more numbers are polygons, x, y, x, y, …, of which the box around them is taken, or where masks are asked
    for the inside; all lines must then be such. An image without a text file has nothing in it.

    Args:
        path: the .yaml file, or the folder that holds a data.yaml, relative to where litepress runs.
    """

    in_shares: ClassVar[bool] = True
    path: str = Setting(min_length=1)

    def annotated(self) -> Mapping[Part, Listed]:
        return _listed(self, *self._version())

    def areas(self) -> Mapping[Part, Sequence[Sequence[Area]]]:
        names = self.names()
        return {part: [[_area(box, polygon, len(names), path) for box, polygon in lines] for path, lines in images]
                for part, images in _read(self, *self._version()).items()}

    def names(self) -> list[str]:
        names = self._document()["names"]
        if isinstance(names, dict) and sorted(names) == list(range(len(names))):
            names = [names[number] for number in range(len(names))]
        if not isinstance(names, list):
            raise UserError(f"{SETTING}: {self._file()}: names must be a list, or numbers from 0 with a name each, and "
                            f"is {names!r}")
        return [str(name) for name in names]

    def _file(self) -> Path:
        base = Path(self.path)
        file = base if base.is_file() else next(iter(sorted(base.glob("*.yaml"))), base / "data.yaml")
        if not file.is_file():
            raise UserError(f"{SETTING}.path: there is no file {file}; give the .yaml that names the classes and the "
                            "folders of images")
        return file

    def _document(self) -> dict[str, Any]:
        file = self._file()
        try:
            document = YAML(typ="safe").load(file.read_text())
        except (OSError, YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{SETTING}: {file} cannot be read: {str(error).splitlines()[0]}") from None
        for key in ("names", "train"):
            if not isinstance(document, dict) or not document.get(key):
                raise UserError(f"{SETTING}: {file} has no {key}; it must name the classes and the folder of training "
                                "images")
        return document

    def _version(self) -> tuple[tuple[Part, str, int], ...]:
        """Return the folders of images and when they, or their labels, were last changed."""
        document, base = self._document(), self._file().parent
        root = base / str(document.get("path") or "")
        found: list[tuple[Part, str, int]] = []
        for key, part in PARTS.items():
            if not document.get(key):
                continue
            name = str(document[key])
            # tools write folders from other places than the file's
            folder = next((one for one in (root / name, base / name, base / name.lstrip("./")) if one.is_dir()), None)
            if folder is None:
                raise UserError(f"{SETTING}: {self._file()}: {key} is {name}, and there is no such folder in {root}")
            changed = max(os.stat(one).st_mtime_ns for one in (folder, _labels_of(folder)) if one.is_dir())
            found.append((part, str(folder), changed))
        return tuple(found)


@functools.lru_cache(maxsize=4)
def _read(source: Yolo, *folders: tuple[Part, str, int]) -> dict[Part, list[tuple[str, list[Line]]]]:
    """Return the images of each part with what is in them. Raises UserError."""
    result = {}
    for part, name, _ in folders:
        folder = Path(name)
        labels = _labels_of(folder)
        images = image_file.images(folder, below=True)
        if not images:
            raise UserError(f"{SETTING}: {folder} has no images ({image_file.READ})")
        files = [labels / path.relative_to(folder).with_suffix(".txt") for path in images]
        if not any(file.is_file() for file in files):
            raise UserError(f"{SETTING}: none of the {len(images):,} images in {folder} has a text file; the first "
                            f"would be {files[0]}")
        result[part] = [(str(path), _lines(file)) for path, file in zip(images, files, strict=True)]
    return result


@functools.lru_cache(maxsize=4)
def _listed(source: Yolo, *folders: tuple[Part, str, int]) -> dict[Part, Listed]:
    """Return the images of each part with their boxes. Raises UserError."""
    return {part: Listed.of(Annotated(path, [box for box, _ in lines]) for path, lines in images)
            for part, images in _read(source, *folders).items()}


def _labels_of(folder: Path) -> Path:
    """Return the folder of labels beside one of images: the last `images` in its path becomes `labels`."""
    parts = list(folder.parts)
    places = [number for number, part in enumerate(parts) if part == "images"]
    if not places:
        return folder
    parts[places[-1]] = "labels"
    return Path(*parts)


def _area(box: Box, polygon: list[float], classes: int, path: str) -> Area:
    """Return the inside of a polygon. Raises UserError."""
    label = box[4]
    if len(polygon) < 2 * CORNERS:
        raise UserError(f"{SETTING}: {path} has a thing with a box alone; leave masks out, or outline it with polygons")
    if label not in range(classes):
        raise UserError(f"{SETTING}: {path} has a thing of class {label:g}, but there are {classes} classes, 0 to "
                        f"{classes - 1}")
    return Area(int(label), [polygon])


def _lines(path: Path) -> list[Line]:
    """Return what a text file lists. Raises UserError."""
    if not path.is_file():
        return []
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{SETTING}: {path} is no text in UTF-8") from None
    found: list[Line] = []
    for number, line in enumerate(lines, start=1):
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            values = [0.0]
        if not values:
            continue
        if len(values) < 5 or (len(values) > 5 and len(values) % 2 == 0):
            raise UserError(f"{SETTING}: {path} line {number} must be a class, x, y, width and height, and is {line!r}")
        label, *sides = values
        if len(sides) == 4:
            x, y, width, height = sides
            box = (y - height / 2, x - width / 2, y + height / 2, x + width / 2)
        else:
            box = (min(sides[1::2]), min(sides[::2]), max(sides[1::2]), max(sides[::2]))
        found.append(((*box, label, 0.0), sides if len(sides) > 4 else []))
    return found
