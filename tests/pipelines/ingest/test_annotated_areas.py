"""Outlines as masks: those of COCO and of YOLO, drawn to the pixel, and what is wrong with some."""
import json

import numpy as np
import PIL.Image
import pytest
from pycocotools import mask as coco_mask

from pipelines.errors import UserError
from pipelines.ingest import Source
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.recipe.recipe import Recipe

HEIGHT, WIDTH = 30, 40
#: Rectangles as left, top, right, bottom, and their class; the second lies in the first.
CAT, DOG = (4, 6, 24, 26), (10, 10, 18, 18)
EXPECTED = np.zeros((HEIGHT, WIDTH), "uint8")
EXPECTED[6:26, 4:24] = 1
EXPECTED[10:18, 10:18] = 2
NAMES = ["background", "cat", "dog"]


def corners(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


def box(left, top, right, bottom):
    return [left, top, right - left, bottom - top]


def write_image(path, size=(HEIGHT, WIDTH)):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.full((*size, 3), 90, "uint8")).save(path)


def runs(mask, packed):
    """Return a mask as COCO's runs: a list, or packed in a text."""
    if packed:
        encoded = coco_mask.encode(np.asfortranarray(mask.astype("uint8")))
        return {"size": [HEIGHT, WIDTH], "counts": encoded["counts"].decode()}
    flat = mask.ravel(order="F").astype(int)
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, flat.size]).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": counts if not flat[0] else [0, *counts]}


def coco(folder, segmentations, **more):
    """Write three images, each with the cat and the dog, and COCO's file of them."""
    annotations = []
    for image in range(3):
        write_image(folder / f"{image}.png")
        annotations += [{"id": 10 * image + number, "image_id": image, "category_id": 5 + number, "bbox": box(*place),
                         "segmentation": segmentations[number], "iscrowd": 0, **more}
                        for number, place in reversed(list(enumerate((CAT, DOG))))]
    document = {"images": [{"id": image, "file_name": f"{image}.png", "height": HEIGHT, "width": WIDTH}
                           for image in range(3)],
                "annotations": annotations, "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "dog"}]}
    (folder / "labels.json").write_text(json.dumps(document))
    return {"coco": {"path": str(folder / "labels.json"), "masks": True}}


def as_polygons(folder):
    return coco(folder, [[corners(*CAT)], [corners(*DOG)]])


def as_runs(folder):
    return coco(folder, [runs(EXPECTED > 0, packed=False), runs(EXPECTED == 2, packed=True)])


def as_yolo(folder):
    (folder / "data.yaml").write_text("train: images\nnames: [cat, dog]\n")
    (folder / "labels").mkdir()
    for image in range(3):
        write_image(folder / f"images/{image}.png")
        lines = [f"{label} " + " ".join(str(value / (HEIGHT if number % 2 else WIDTH))
                                        for number, value in enumerate(corners(*place)))
                 for label, place in reversed(list(enumerate((CAT, DOG))))]
        (folder / f"labels/{image}.txt").write_text("\n".join(lines))
    return {"yolo": {"path": str(folder), "masks": True}}


def recipe_of(source, task="semantic_segmentation", builder="unet"):
    return Recipe.model_validate({"name": "x", "task": task, "model": {"builder": builder},
                                  "data": {"source": source, "image": {"size": [HEIGHT, WIDTH]}, "batch": 1}})


@pytest.mark.parametrize("write", [as_polygons, as_runs, as_yolo])
def test_outlines_are_masks_and_the_smaller_lies_on_top(write, tmp_path):
    recipe = recipe_of(write(tmp_path))
    recipe.data.source.prepare()
    index = build_index(recipe.data, recipe.task, 7)
    assert index.names("mask") == NAMES
    data = Data(recipe.data, recipe.task, index, 7)
    for part in ("train", "validation", "test"):
        _, targets = data.arrays(part, 9)
        np.testing.assert_array_equal(targets["mask"], np.repeat(EXPECTED[None], len(targets["mask"]), axis=0))
    fingerprint = recipe.data.source.fingerprint()
    assert fingerprint != Source.read({**recipe.data.source.written(), **{
        kind: {**settings, "masks": False} for kind, settings in recipe.data.source.written().items()}}).fingerprint()


def test_crowds_are_of_no_class(tmp_path):
    source = Source.read(coco(tmp_path, [runs(EXPECTED > 0, packed=True), runs(EXPECTED == 2, packed=True)],
                              iscrowd=1))
    mask = next(source.examples("train", [2]).as_numpy_iterator())["mask"]
    np.testing.assert_array_equal(mask, np.where(EXPECTED, 255, 0))


def test_boxes_stay_what_detection_learns_from(tmp_path):
    source = Source.read({"coco": as_polygons(tmp_path)["coco"]["path"]})
    assert sorted(source.fields()) == ["boxes", "image"]
    assert "mask" not in next(source.examples("train").as_numpy_iterator())
    with pytest.raises(UserError, match=r"its outlines are boxes unless masks are asked for: add masks: true"):
        build_index(recipe_of(source.written()).data, recipe_of(source.written()).task, 7)


def changed(folder, change):
    document = json.loads((folder / "labels.json").read_text())
    change(document)
    (folder / "labels.json").write_text(json.dumps(document))


@pytest.mark.parametrize(("write", "change", "expected"), [
    (as_polygons, lambda folder: changed(folder, lambda one: one["annotations"][1].pop("segmentation")),
     r"annotations\[1\] has no segmentation; leave masks out, or outline it"),
    (as_polygons, lambda folder: changed(folder, lambda one: one["annotations"][1].update(segmentation=[[1, 2, 3, 4]])),
     r"annotations\[1\] has a polygon that is not x, y, x, y, … of 3 corners"),
    (as_polygons, lambda folder: changed(folder, lambda one: one["annotations"][0].update(segmentation=[["a"] * 6])),
     r"annotations\[0\] has a polygon that is not x, y"),
    (as_polygons, lambda folder: changed(folder, lambda one: one["annotations"][0].update(category_id=9)),
     r"annotations\[0\] is of category 9, which is not among the categories"),
    (as_runs, lambda folder: changed(folder, lambda one: one["annotations"][0]["segmentation"].update(size=[40, 30])),
     r"annotations\[0\] has a segmentation of \[40, 30\] pixels, height and width, and its image has 30 x 40"),
    (as_yolo, lambda folder: (folder / "labels/1.txt").write_text("0 0.5 0.5 0.2 0.2"),
     r"1\.png has a thing with a box alone; leave masks out, or outline it with polygons"),
    (as_yolo, lambda folder: (folder / "labels/1.txt").write_text("2 0 0 0 1 1 1"),
     r"1\.png has a thing of class 2, but there are 2 classes, 0 to 1"),
    (as_yolo, lambda folder: (folder / "data.yaml").write_text(
        f"train: images\nnames: [{', '.join(f'c{number}' for number in range(255))}]"),
     "it has 255 classes, and a mask holds 254 at most beside the background")])
def test_what_cannot_be_drawn_is_said_in_a_line(write, change, expected, tmp_path):
    written = write(tmp_path)
    change(tmp_path)
    with pytest.raises(UserError, match=expected) as caught:
        Source.read(written).fingerprint()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("write", [as_polygons, as_runs])
def test_a_mask_of_another_size_than_its_image_ends_the_run(write, tmp_path):
    recipe = recipe_of(write(tmp_path))
    write_image(tmp_path / "1.png", (20, 20))
    with pytest.raises(UserError, match=r"1\.png has a mask of 30 x 40 pixels and an image of 20 x 20; give masks of "
                                        "their images' size"):
        build_index(recipe.data, recipe.task, 7)
