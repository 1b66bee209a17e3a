"""Images with boxes as COCO writes them."""
from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.ingest.index import Part
from pipelines.ingest.sources import kept
from pipelines.ingest.sources.annotated_images import Annotated, AnnotatedImages, Listed
from pipelines.ingest.sources.part_names import part_of

SETTING = "data.source.coco"
#: The file that lies among the images in exports of labelling tools.
BESIDE = "_annotations.coco.json"
#: Images that are looked for in a folder before it is taken for another.
LOOKED_FOR = 20
#: What of an annotation is not kept in memory.
UNUSED = {"segmentation", "keypoints"}


class Coco(AnnotatedImages, name="coco", shorthand="path"):
    """Images with boxes in COCO's JSON: images, annotations with `bbox` and `category_id`, categories.

    A folder is taken that holds `annotations/instances_train2017.json` beside `train2017/` (or `images/`), and the same
    for val and test, or train, valid and test folders with `_annotations.coco.json` among their images; or one .json
    file. Categories without any annotation are left out.

    Args:
        path: the folder or the file, relative to where litepress runs.
        images: the folder that file names start from, where it is another.
    """

    path: str = Setting(min_length=1)
    images: str | None = Setting(None, min_length=1)

    def annotated(self) -> Mapping[Part, Listed]:
        files = self._files()
        return _read(self, tuple((part, str(file), os.stat(file).st_mtime_ns) for part, file in files.items()))[0]

    def names(self) -> list[str]:
        files = self._files()
        return _read(self, tuple((part, str(file), os.stat(file).st_mtime_ns) for part, file in files.items()))[1]

    def _files(self) -> dict[Part, Path]:
        """Return the files of annotations, by part."""
        base = Path(self.path)
        if base.is_file():
            return {"train": base}
        if not base.is_dir():
            raise UserError(f"{SETTING}.path: there is no folder or file {self.path}")
        found: dict[Part, Path] = {}
        inside = (one for one in base.iterdir() if one.is_dir() and (one / BESIDE).is_file())
        listed = sorted((base / "annotations").glob("*.json")) or sorted(base.glob("*.json"))
        files = [one / BESIDE for one in sorted(inside)] or [
            one for one in listed if not one.name.startswith(("captions", "person_keypoints", "image_info"))]
        for file in files:
            part = part_of(file.parent.name if file.name == BESIDE else file.stem)
            if part is None and len(files) == 1:
                part = "train"
            if part is None:
                continue
            if part in found:
                raise UserError(f"{SETTING}.path: {found[part]} and {file} are both of the part {part}; keep one, or "
                                "give the file")
            found[part] = file
        if not found:
            raise UserError(f"{SETTING}.path: {self.path} has no annotations/*train*.json, and no folder with "
                            f"{BESIDE} in it; give the .json file")
        return found

    def _folder(self, file: Path, images: Sequence[str]) -> Path:
        """Return the folder that file names start from: the first of the usual ones in which one of the first images
        is."""
        base = file.parent
        names = [file.stem, file.stem.partition("_")[2]]
        usual = [base, base / "images", *(base / name for name in names if name),
                 *(base.parent / name for name in names if name),
                 *(base.parent / "images" / name for name in names if name), base.parent / "images", base.parent]
        if part := part_of(file.stem):
            usual += [base.parent / one for one in ("train", "val", "valid", "test") if part_of(one) == part]
        given = [Path(self.images), *(Path(self.images) / name for name in names if name)] if self.images else usual
        return next((folder for folder in given if any((folder / name).is_file() for name in images[:LOOKED_FOR])),
                    given[0])


class Document(NamedTuple):
    """What the files of annotations say, in arrays, without where the images lie.

    Args:
        parts: images of each part; their paths are the names of their files.
        names: of the classes.
    """

    parts: dict[Part, Listed]
    names: list[str]


@functools.lru_cache(maxsize=4)
def _read(source: Coco, files: tuple[tuple[Part, str, int], ...]) -> tuple[dict[Part, Listed], list[str]]:
    """Return the images of each part, and the classes. Raises UserError."""
    known = Document(*kept.kept(files, lambda: _parsed(files)))
    result: dict[Part, Listed] = {}
    for part, file, _ in files:
        images = known.parts[part]
        folder = source._folder(Path(file), images.paths)
        result[part] = dataclasses.replace(images, paths=[str(folder / name) for name in images.paths])
    return result, known.names


def _parsed(files: tuple[tuple[Part, str, int], ...]) -> Document:
    """Return what the files say. Raises UserError."""
    documents = {part: _document(Path(file)) for part, file, _ in files}
    used: dict[int, str] = {}
    for document in documents.values():
        known = {one["id"]: str(one["name"]) for one in document["categories"]}
        for number in {one["category_id"] for one in document["annotations"]}:
            if used.setdefault(number, known.get(number, "")) != known.get(number, ""):
                raise UserError(f"{SETTING}: category {number} is {used[number]!r} in one of the files and "
                                f"{known.get(number, '')!r} in another; give each class one number in all of them")
    if not used:
        raise UserError(f"{SETTING}: {', '.join(file for _, file, _ in files)}: there are no annotations at all")
    order = [number for number in sorted(used) if used[number]]
    place = {number: position for position, number in enumerate(order)}
    result: dict[Part, Listed] = {}
    for part, file, _ in files:
        images = sorted(documents[part]["images"], key=lambda one: str(one["file_name"]))
        rows: dict[Any, list[tuple[float, ...]]] = {image["id"]: [] for image in images}
        if len(rows) < len(images):
            raise UserError(f"{SETTING}: {file}: two images have one id; give each its own")
        sizes = {image["id"]: (float(image["height"]), float(image["width"])) for image in images}
        for row, image in _rows(documents[part]["annotations"], sizes, place, file):
            rows[image].append(row)
        result[part] = Listed.of(Annotated(str(image["file_name"]), rows[image["id"]], sizes[image["id"]])
                                 for image in images)
    return Document(result, [used[number] for number in order])


def _rows(annotations: Sequence[dict[str, Any]], sizes: Mapping[Any, tuple[float, float]], place: Mapping[int, int],
          file: str) -> Iterator[tuple[tuple[float, ...], Any]]:
    """Yield boxes, each with the image that it is in. Raises UserError."""
    for one in annotations:
        image = one["image_id"]
        if image not in sizes:
            raise UserError(f"{SETTING}: {file}: annotation {one.get('id', '?')} is of image {image}, which is not "
                            "among the images")
        height, width = sizes[image]
        if height <= 0 or width <= 0:
            raise UserError(f"{SETTING}: {file}: image {image} is {width:g} x {height:g} pixels")
        left, top, across, down = map(float, one["bbox"])
        yield ((top / height, left / width, (top + down) / height, (left + across) / width,
                float(place.get(one["category_id"], -1)), float(bool(one.get("iscrowd", 0)))), image)


def _needed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object without the outlines, of which most of a file consists."""
    return {name: value for name, value in pairs if name not in UNUSED}


def _document(file: Path) -> dict[str, Any]:
    """Return a file's content, looked at. Raises UserError."""
    try:
        document = json.loads(file.read_bytes(), object_pairs_hook=_needed)
    except (OSError, ValueError) as error:
        raise UserError(f"{SETTING}: {file} cannot be read as JSON: {error}") from None
    wanted = {"images": ("id", "file_name", "height", "width"), "annotations": ("image_id", "category_id", "bbox"),
              "categories": ("id", "name")}
    for name, keys in wanted.items():
        entries = document.get(name) if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise UserError(f"{SETTING}: {file} has no list {name}; it is no file of COCO's boxes")
        for number, entry in enumerate(entries):
            lacking = [key for key in keys if not isinstance(entry, dict) or key not in entry]
            if lacking:
                raise UserError(f"{SETTING}: {file}: {name}[{number}] has no {lacking[0]}")
            numbers = entry["bbox"] if name == "annotations" else [entry["height"], entry["width"]] if (
                name == "images") else []
            if not isinstance(numbers, list) or not all(isinstance(one, (int, float)) for one in numbers) or (
                    name == "annotations" and len(numbers) != 4):
                raise UserError(f"{SETTING}: {file}: {name}[{number}] has {numbers!r} where numbers are wanted: "
                                + ("left, top, width and height" if name == "annotations" else "height and width"))
    return document
