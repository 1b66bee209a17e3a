"""What a detector finds in a user's own images: drawn on them, and as COCO's results."""
from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from pipelines.errors import UserError
from pipelines.features.image import Image
from pipelines.figures import detection

with epy.lazy_imports():
    import numpy as np
    import PIL.Image

RESULTS = "results.json"


def write(files: Sequence[Path], found: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], names: Sequence[str],
          threshold: float, folder: Path, points: np.ndarray | None = None, point_names: Sequence[str] = ()) -> None:
    """Write each image with its boxes as a PNG, and results.json: a list of image_id (the file's place), file_name,
    category_id (the class's number), category, bbox (left, top, width, height in pixels) and score; where there are key
    points, keypoints (x, y, 2 for each) and keypoint_names.

    Args:
        files: the images.
        found: of each the boxes (boxes, 4) as shares of it, their scores and their classes, the best first.
        names: of the classes.
        threshold: boxes below are in results.json alone.
        folder: is made where it is not there.
        points: key points of the boxes, (files, most, points, 2), y and x as shares.
        point_names: of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = {file.resolve() for file in files}
    results: list[dict[str, Any]] = []
    taken: set[str] = {RESULTS}
    for number, (file, (boxes, scores, classes)) in enumerate(zip(files, found, strict=True)):
        image = opened(file)
        sides = boxes * np.array([image.height, image.width, image.height, image.width])
        places = np.zeros((len(boxes), 0, 2)) if points is None else (
            points[number, :len(boxes)] * [image.height, image.width])
        for (top, left, bottom, right), score, label, its in zip(sides.tolist(), scores.tolist(), classes.tolist(),
                                                                 places, strict=True):
            results.append({"image_id": number, "file_name": str(file), "category_id": label, "category": names[label],
                            "bbox": [round(value, 2) for value in (left, top, right - left, bottom - top)],
                            "score": round(score, 5), **_key_points(its, point_names)})
        known = scores >= threshold
        words = [f"{names[label]} {score:.0%}" for label, score in zip(classes[known], scores[known], strict=True)]
        target = folder / _name(file, taken)
        if target.resolve() in own:
            raise UserError(f"predict: --out {folder}: {target} is one of the images; give another folder")
        detection.on_image(image, sides[known], words, places[known].reshape(-1, 2)).save(target)
    (folder / RESULTS).write_text(json.dumps(results, indent=1) + "\n")


def _key_points(places: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Return the key points of a box (points, 2), y and x in pixels, as COCO's results have them."""
    if not names:
        return {}
    given = [value for y, x in places.tolist() for value in (round(x, 2), round(y, 2), 2)]
    return {"keypoints": given, "keypoint_names": list(names)}


def opened(file: Path) -> PIL.Image.Image:
    """Return an image in its own size, its pixels as a model is given them. Raises UserError."""
    pixels = Image().pixels(file)
    return PIL.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3]).convert("RGB")


def _name(file: Path, taken: set[str]) -> str:
    """Return a name for the drawing that no other has."""
    name, number = f"{file.stem}.png", 1
    while name in taken:
        number += 1
        name = f"{file.stem}_{number}.png"
    taken.add(name)
    return name
