"""Images with boxes as PASCAL VOC writes them."""
from __future__ import annotations

import functools
import os
import xml.etree.ElementTree
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.ingest.index import Part
from pipelines.ingest.sources.annotated_images import Annotated, AnnotatedImages, Listed
from pipelines.ingest.sources.part_names import part_of

SETTING = "data.source.voc"


class Voc(AnnotatedImages, name="voc", shorthand="path"):
    """Images with an XML file each, as PASCAL VOC and most labelling tools write them.

    A folder is taken that holds `JPEGImages/`, `Annotations/` and, where there are parts, `ImageSets/Main/train.txt`
    and the like; or one with images and their .xml files side by side. Objects that are marked as difficult count as
    crowds: they are neither learnt nor missed.

    Args:
        path: the folder, relative to where litepress runs.
        class_names: in their order; all that occur, sorted, where not given.
    """

    path: str = Setting(min_length=1)
    class_names: tuple[str, ...] | None = Setting(None, min_length=1)

    def annotated(self) -> Mapping[Part, Listed]:
        return _read(self, self._version())[0]

    def names(self) -> list[str]:
        return _read(self, self._version())[1]

    def _version(self) -> str:
        base = Path(self.path)
        if not base.is_dir():
            raise UserError(f"{SETTING}.path: there is no folder {self.path}")
        return " ".join(f"{folder} {os.stat(folder).st_mtime_ns}" for folder in self._folders().values())

    def _folders(self) -> dict[str, Path]:
        base = Path(self.path)
        folders = {"images": base / "JPEGImages", "annotations": base / "Annotations", "sets": base / "ImageSets/Main"}
        return {name: folder if folder.is_dir() else base for name, folder in folders.items()}


@functools.lru_cache(maxsize=4)
def _read(source: Voc, version: str) -> tuple[dict[Part, Listed], list[str]]:
    """Return the images of each part, and the classes, kept until the version changes. Raises UserError."""
    folders = source._folders()
    files = {path.stem: path for path in sorted(folders["annotations"].glob("*.xml"))}
    if not files:
        raise UserError(f"{SETTING}.path: {folders['annotations']} has no .xml files")
    described = {name: _objects(path) for name, path in files.items()}
    objects = {name: found for name, (found, _) in described.items()}
    images = {path.stem: path for path in image_file.images(folders["images"])}
    known = list(source.class_names or sorted({name for found in objects.values() for name, *_ in found}))
    numbers = {name: number for number, name in enumerate(known)}
    result: dict[Part, Listed] = {}
    for part, names in _parts(folders["sets"], files).items():
        result[part] = Listed.of(
            Annotated(str(images.get(name, folders["images"] / f"{name}.jpg")),
                      [(*sides, float(numbers.get(label, -1)), crowd) for label, sides, crowd in objects[name]],
                      described[name][1]) for name in names)
    return result, known


def _parts(folder: Path, files: Mapping[str, Path]) -> dict[Part, list[str]]:
    """Return the names of each part's images; all are to train on where no file says it."""
    lists = {part_of(path.stem): path for path in sorted(folder.glob("*.txt")) if path.stem in (
        "train", "val", "test", "trainval")}
    if (folder / "train.txt").is_file():
        lists["train"] = folder / "train.txt"
    parts: dict[Part, list[str]] = {}
    for part, path in lists.items():
        words = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
        if lacking := next((word for word in words if word not in files), None):
            raise UserError(f"{SETTING}: {path} names {lacking}, which has no .xml file")
        if part is not None and words:
            parts[part] = words
    if parts and not (folder / "train.txt").is_file():  # trainval holds both
        parts["train"] = [word for word in parts.get("train", []) if word not in set(parts.get("validation", []))]
    return parts or {"train": list(files)}


def _objects(path: Path) -> tuple[list[tuple[str, tuple[float, float, float, float], float]], tuple[float, float]]:
    """Return what a file lists: class, sides as shares of the image, and whether it is difficult; and the image's
    height and width. Raises UserError."""
    try:
        root = xml.etree.ElementTree.parse(path).getroot()
        height, width = (float(root.findtext(f"size/{side}") or 0) for side in ("height", "width"))
        found = []
        for one in root.iter("object"):
            sides = [float(one.findtext(f"bndbox/{side}") or "nan") for side in ("ymin", "xmin", "ymax", "xmax")]
            found.append(((one.findtext("name") or "").strip(), sides, float(one.findtext("difficult") or 0)))
    except (OSError, ValueError, xml.etree.ElementTree.ParseError) as error:
        raise UserError(f"{SETTING}: {path} cannot be read: {error}") from None
    if not all(name for name, *_ in found):
        raise UserError(f"{SETTING}: {path} has an object without a name")
    if found and (height <= 0 or width <= 0):
        raise UserError(f"{SETTING}: {path} does not say how large its image is (size/width and size/height)")
    # the first pixel is 1, and the last one belongs to the box
    objects = [(name, (max(0.0, ymin - 1) / height, max(0.0, xmin - 1) / width, ymax / height, xmax / width),
                float(difficult > 0)) for name, (ymin, xmin, ymax, xmax), difficult in found]
    return objects, (height, width)
