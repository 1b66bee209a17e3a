"""Images with boxes as COCO writes them."""
from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.ingest.index import Part
from pipelines.ingest.sources import kept
from pipelines.ingest.sources.annotated_areas import CORNERS, AnnotatedAreas, Area
from pipelines.ingest.sources.annotated_images import Annotated, Listed
from pipelines.ingest.sources.part_names import part_of

SETTING = "data.source.coco"
#: The file that lies among the images in exports of labelling tools.
BESIDE = "_annotations.coco.json"
#: Images that are looked for in a folder before it is taken for another.
LOOKED_FOR = 20
#: What of an annotation is kept in memory only where it is asked for.
OUTLINES, POINTS = "segmentation", "keypoints"
#: How the files begin that have key points beside boxes.
WITH_POINTS = "person_keypoints"


class Coco(AnnotatedAreas, name="coco", shorthand="path"):
    """Images with boxes, or with masks, in COCO's JSON: images, annotations with `bbox`, `category_id` and, for masks,
    `segmentation` (polygons, or runs of pixels), categories.

    A folder is taken that holds `annotations/instances_train2017.json` beside `train2017/` (or `images/`), and the same
    for val and test, or train, valid and test folders with `_annotations.coco.json` among their images; or one .json
    file. Categories without any annotation are left out.

    Args:
        path: the folder or the file, relative to where litepress runs.
        images: the folder that file names start from, where it is another.
        key_points: each box has key points, as `keypoints` of its annotation; the categories name them.
        test_on: validation, where what is to be tested on is not annotated, as COCO's; what is validated on during the
            training is then taken from the training part.
    """

    path: str = Setting(min_length=1)
    images: str | None = Setting(None, min_length=1)
    key_points: bool = False
    test_on: Literal["validation"] | None = None

    def annotated(self) -> Mapping[Part, Listed]:
        return _read(self, self._changed()).parts

    def names(self) -> list[str]:
        return _read(self, self._changed()).names

    def point_names(self) -> list[str]:
        return _read(self, self._changed()).points

    def areas(self) -> Mapping[Part, Sequence[Sequence[Area]]]:
        return _outlined(self._changed())

    def size_of(self, part: Part, position: int) -> tuple[int, int]:
        height, width = self.annotated()[part].sizes[position]
        return int(height), int(width)

    def _changed(self) -> tuple[tuple[Part, str, int], ...]:
        """Return the part, the path and the last change of each file of annotations."""
        return tuple((part, str(file), os.stat(file).st_mtime_ns) for part, file in self._files().items())

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
            one for one in listed if not one.name.startswith(("captions", WITH_POINTS, "image_info"))]
        if self.key_points:
            files = [one for one in listed if one.name.startswith(WITH_POINTS)] or files
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
        if self.test_on is None:
            return found
        if self.test_on not in found:
            raise UserError(f"{SETTING}.test_on: {self.path} has no {self.test_on} part; it has {', '.join(found)}")
        return {"test" if part == self.test_on else part: file for part, file in found.items() if part != "test"}

    def _folder(self, file: Path, images: Sequence[str]) -> Path:
        """Return the folder that file names start from: the first of the usual ones in which one of the first images
        is."""
        base = file.parent
        names = [file.stem, file.stem.removeprefix(WITH_POINTS).partition("_")[2]]
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
        points: names of the key points of each box.
    """

    parts: dict[Part, Listed]
    names: list[str]
    points: list[str]


@functools.lru_cache(maxsize=4)
def _read(source: Coco, files: tuple[tuple[Part, str, int], ...]) -> Document:
    """Return what the files say, with where the images lie. Raises UserError."""
    known = _parsed(files, True) if source.key_points else Document(*kept.kept(
        files, lambda: _parsed(files, False)[:2]), [])
    result: dict[Part, Listed] = {}
    for part, file, _ in files:
        images = known.parts[part]
        folder = source._folder(Path(file), images.paths)
        result[part] = dataclasses.replace(images, paths=[str(folder / name) for name in images.paths])
    return known._replace(parts=result)


def _parsed(files: tuple[tuple[Part, str, int], ...], key_points: bool) -> Document:
    """Return what the files say. Raises UserError."""
    documents = {part: _document(Path(file), {POINTS} if key_points else set()) for part, file, _ in files}
    names, place = _classes(documents, files)
    points = _point_names(documents, place, files) if key_points else []
    result: dict[Part, Listed] = {}
    for part, file, _ in files:
        images = sorted(documents[part]["images"], key=lambda one: str(one["file_name"]))
        rows: dict[Any, list[tuple[float, ...]]] = {image["id"]: [] for image in images}
        if len(rows) < len(images):
            raise UserError(f"{SETTING}: {file}: two images have one id; give each its own")
        sizes = {image["id"]: (float(image["height"]), float(image["width"])) for image in images}
        for row, image in _rows(documents[part]["annotations"], sizes, place, file, len(points)):
            rows[image].append(row)
        result[part] = Listed.of((Annotated(str(image["file_name"]), rows[image["id"]], sizes[image["id"]])
                                  for image in images), len(points))
    return Document(result, names, points)


def _point_names(documents: Mapping[Part, dict[str, Any]], place: Mapping[int, int],
                 files: Sequence[tuple[Part, str, int]]) -> list[str]:
    """Return the key points that the categories name, the same for all that are used. Raises UserError."""
    of_files = dict((part, file) for part, file, _ in files)
    known: list[str] = []
    for part, document in documents.items():
        for number, category in enumerate(document["categories"]):
            if category["id"] not in place:
                continue
            names = category.get(POINTS)
            where = f"{SETTING}: {of_files[part]}: categories[{number}]"
            if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
                raise UserError(f"{where} has no list of names {POINTS}; add it, or leave key_points out")
            if known and names != known:
                raise UserError(f"{where} has the key points {', '.join(names)}, and another category has "
                                f"{', '.join(known)}: all boxes have the same")
            known = names
    return known


def _classes(documents: Mapping[Part, dict[str, Any]],
             files: Sequence[tuple[Part, str, int]]) -> tuple[list[str], dict[int, int]]:
    """Return the names of the classes, and the place of each category among them, by its number. Raises UserError."""
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
    return [used[number] for number in order], place


@functools.lru_cache(maxsize=4)
def _outlined(files: tuple[tuple[Part, str, int], ...]) -> dict[Part, list[list[Area]]]:
    """Return what is outlined in each image of each part, in the order of `_parsed`. Raises UserError."""
    documents = {part: _document(Path(file), {OUTLINES}) for part, file, _ in files}
    _, place = _classes(documents, files)
    result: dict[Part, list[list[Area]]] = {}
    for part, file, _ in files:
        images = sorted(documents[part]["images"], key=lambda one: str(one["file_name"]))
        sizes = {image["id"]: (float(image["height"]), float(image["width"])) for image in images}
        areas: dict[Any, list[Area]] = {image["id"]: [] for image in images}
        for number, one in enumerate(documents[part]["annotations"]):
            areas[one["image_id"]].append(_area(one, sizes[one["image_id"]], place,
                                                f"{SETTING}: {file}: annotations[{number}]"))
        result[part] = [areas[image["id"]] for image in images]
    return result


def _area(annotation: Mapping[str, Any], size: tuple[float, float], place: Mapping[int, int], where: str) -> Area:
    """Return the pixels of an annotation. Raises UserError.

    Args:
        size: height and width of its image.
        place: of the classes, by the numbers of their categories.
        where: it stands, for messages.
    """
    if annotation["category_id"] not in place:
        raise UserError(f"{where} is of category {annotation['category_id']}, which is not among the categories")
    label, is_crowd = place[annotation["category_id"]], bool(annotation.get("iscrowd", 0))
    outline = annotation.get("segmentation")
    if isinstance(outline, dict) and isinstance(outline.get("counts"), (list, str)):
        if list(map(float, outline.get("size", []))) != list(size):
            raise UserError(f"{where} has a segmentation of {outline.get('size')} pixels, height and width, and its "
                            f"image has {size[0]:g} x {size[1]:g}")
        return Area(label, [], outline["counts"], is_crowd)
    if not isinstance(outline, list) or not outline:
        raise UserError(f"{where} has no segmentation; leave masks out, or outline it")
    for polygon in outline:
        if not isinstance(polygon, list) or len(polygon) < 2 * CORNERS or len(polygon) % 2 or not all(
                isinstance(value, (int, float)) for value in polygon):
            raise UserError(f"{where} has a polygon that is not x, y, x, y, … of {CORNERS} corners at least")
    return Area(label, outline, None, is_crowd)


def _rows(annotations: Sequence[dict[str, Any]], sizes: Mapping[Any, tuple[float, float]], place: Mapping[int, int],
          file: str, points: int) -> Iterator[tuple[tuple[float, ...], Any]]:
    """Yield boxes, each with the image that it is in. Raises UserError.

    Args:
        points: key points of each box.
    """
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
                float(place.get(one["category_id"], -1)), float(bool(one.get("iscrowd", 0))),
               *_key_points(one, (height, width), points, file)), image)


def _key_points(annotation: Mapping[str, Any], size: tuple[float, float], count: int, file: str) -> Iterator[float]:
    """Yield y and x as shares of the image, and whether it is marked, of each key point. Raises UserError."""
    given = annotation.get(POINTS, [0] * 3 * count)
    if count and (not isinstance(given, list) or len(given) != 3 * count or not all(
            isinstance(value, (int, float)) for value in given)):
        raise UserError(f"{SETTING}: {file}: annotation {annotation.get('id', '?')} has {POINTS} that are not x, y, v "
                        f"of {count} key points")
    for place in range(count):
        x, y, seen = given[3 * place:3 * place + 3]
        yield from (y / size[0], x / size[1], float(seen > 0))


def _document(file: Path, wanted_too: Collection[str] = ()) -> dict[str, Any]:
    """Return a file's content, looked at. Raises UserError.

    Args:
        wanted_too: of `OUTLINES` and `POINTS`, of which most of a file consists: the others are left out.
    """
    left_out = {OUTLINES, POINTS} - set(wanted_too)

    def needed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in pairs if name not in left_out}

    try:
        document = json.loads(file.read_bytes(), object_pairs_hook=needed)
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
