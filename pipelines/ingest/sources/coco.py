"""Images with boxes as COCO writes them."""
from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.ingest.index import Part
from pipelines.ingest.sources.annotated_areas import CORNERS, AnnotatedAreas, Area
from pipelines.ingest.sources.annotated_images import Annotated, part_of

SETTING = "data.source.coco"
#: The file that lies among the images in exports of labelling tools.
BESIDE = "_annotations.coco.json"
#: Images that are looked for in a folder before it is taken for another.
LOOKED_FOR = 20


class _Content(NamedTuple):
    """What the files of a source say.

    Args:
        images: of each part, by the names of their files.
        names: of the classes.
        areas, sizes: of each image in this order; areas where masks are asked for.
    """

    images: dict[Part, list[Annotated]]
    names: list[str]
    areas: dict[Part, list[list[Area]]]
    sizes: dict[Part, list[tuple[int, int]]]


class Coco(AnnotatedAreas, name="coco", shorthand="path"):
    """Images with boxes, or with masks, in COCO's JSON: images, annotations with `bbox`, `category_id` and, for masks,
    `segmentation` (polygons, or runs of pixels), categories.

    A folder is taken that holds `annotations/instances_train2017.json` beside `train2017/` (or `images/`), and the same
    for val and test, or train, valid and test folders with `_annotations.coco.json` among their images; or one .json
    file. Categories without any annotation are left out.

    Args:
        path: the folder or the file, relative to where litepress runs.
        images: the folder that file names start from, where it is another.
    """

    path: str = Setting(min_length=1)
    images: str | None = Setting(None, min_length=1)

    def annotated(self) -> Mapping[Part, Sequence[Annotated]]:
        return self._read().images

    def names(self) -> list[str]:
        return self._read().names

    def areas(self) -> Mapping[Part, Sequence[Sequence[Area]]]:
        return self._read().areas

    def size_of(self, part: Part, position: int) -> tuple[int, int]:
        return self._read().sizes[part][position]

    def _read(self) -> _Content:
        files = self._files()
        return _read(self, tuple((part, str(file), os.stat(file).st_mtime_ns) for part, file in files.items()))

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


@functools.lru_cache(maxsize=4)
def _read(source: Coco, files: tuple[tuple[Part, str, int], ...]) -> _Content:
    """Return what files of annotations say. Raises UserError."""
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
    result = _Content({}, [used[number] for number in order], {}, {})
    for part, file, _ in files:
        images = sorted(documents[part]["images"], key=lambda one: str(one["file_name"]))
        folder = source._folder(Path(file), [str(image["file_name"]) for image in images])
        rows: dict[Any, list[tuple[float, ...]]] = {image["id"]: [] for image in images}
        if len(rows) < len(images):
            raise UserError(f"{SETTING}: {file}: two images have one id; give each its own")
        sizes = {image["id"]: (float(image["height"]), float(image["width"])) for image in images}
        for row, image in _rows(documents[part]["annotations"], sizes, place, file):
            rows[image].append(row)
        result.images[part] = [Annotated(str(folder / image["file_name"]), rows[image["id"]])  # type: ignore[arg-type]
                               for image in images]
        result.sizes[part] = [(int(image["height"]), int(image["width"])) for image in images]
        areas: dict[Any, list[Area]] = {image["id"]: [] for image in images}
        if source.masks:
            for number, one in enumerate(documents[part]["annotations"]):
                areas[one["image_id"]].append(_area(one, sizes[one["image_id"]], place,
                                                    f"{SETTING}: {file}: annotations[{number}]"))
        result.areas[part] = [areas[image["id"]] for image in images]
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


def _document(file: Path) -> dict[str, Any]:
    """Return a file's content, looked at. Raises UserError."""
    try:
        document = json.loads(file.read_bytes())
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
