"""Images with boxes, in every form that labelling tools write: the same boxes, and what is wrong with some."""
import json

import numpy as np
import PIL.Image
import pytest

from pipelines.errors import UserError
from pipelines.ingest import Source
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import Reader, build_index
from pipelines.recipe.recipe import Recipe
from pipelines.tools import check

#: Height, width; and of each image its boxes in pixels, as ymin, xmin, ymax, xmax, class.
SIZE = (40, 80)
IMAGES = {"train": {"a": [(10, 8, 30, 40, "dog"), (0, 0, 40, 80, "cat")], "b": []},
          "val": {"c": [(4, 16, 12, 32, "cat")]}, "test": {"d": [(20, 40, 40, 60, "dog")]}}
PARTS = {"train": "train", "val": "validation", "test": "test"}
NAMES = ["cat", "dog"]


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.full((*SIZE, 3), 90, "uint8")).save(path)


def coco(images, first):
    """Return COCO's document of some images."""
    annotations = [{"id": 10 * number + place, "image_id": first + number, "category_id": 7 * (1 + NAMES.index(name)),
                    "bbox": [xmin, ymin, xmax - xmin, ymax - ymin], "iscrowd": 0, "area": 1}
                   for number, boxes in enumerate(images.values())
                   for place, (ymin, xmin, ymax, xmax, name) in enumerate(boxes)]
    return {"images": [{"id": first + number, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]}
                       for number, name in enumerate(images)],
            "annotations": annotations,
            "categories": [{"id": 14, "name": "dog"}, {"id": 7, "name": "cat"}, {"id": 3, "name": "unused"}]}


def as_coco(folder):
    for number, (part, images) in enumerate(IMAGES.items()):
        for name in images:
            write_image(folder / f"{part}2017/{name}.png")
        file = folder / f"annotations/instances_{part}2017.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(coco(images, 100 * number)))
    return {"coco": str(folder)}


def as_exported_coco(folder):
    for number, (part, images) in enumerate(IMAGES.items()):
        inside = folder / {"val": "valid"}.get(part, part)
        for name in images:
            write_image(inside / f"{name}.png")
        (inside / "_annotations.coco.json").write_text(json.dumps(coco(images, 100 * number)))
    return {"coco": str(folder)}


def as_voc(folder):
    for part, images in IMAGES.items():
        (folder / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
        (folder / f"ImageSets/Main/{part}.txt").write_text("".join(f"{name}\n" for name in images))
        (folder / f"ImageSets/Main/dog_{part}.txt").write_text("a  1\n")
        for name, boxes in images.items():
            write_image(folder / f"JPEGImages/{name}.png")
            objects = "".join(
                f"<object><name>{label}</name><difficult>0</difficult><bndbox><xmin>{xmin + 1}</xmin><ymin>{ymin + 1}"
                f"</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox></object>"
                for ymin, xmin, ymax, xmax, label in boxes)
            (folder / "Annotations").mkdir(exist_ok=True)
            (folder / f"Annotations/{name}.xml").write_text(
                f"<annotation><size><width>{SIZE[1]}</width><height>{SIZE[0]}</height></size>{objects}</annotation>")
    return {"voc": str(folder)}


def as_yolo(folder):
    (folder / "data.yaml").parent.mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_text("path: /somewhere/else\ntrain: ../train/images\nval: val/images\n"
                                      "test: test/images\nnames: {0: cat, 1: dog}\n".replace("../", "./"))
    for part, images in IMAGES.items():
        for name, boxes in images.items():
            write_image(folder / f"{part}/images/{name}.png")
            lines = [f"{NAMES.index(label)} {(xmin + xmax) / 160} {(ymin + ymax) / 80} {(xmax - xmin) / 80} "
                     f"{(ymax - ymin) / 40}" for ymin, xmin, ymax, xmax, label in boxes]
            if lines and name == "d":  # as a polygon
                ymin, xmin, ymax, xmax = (side / size for side, size in zip(boxes[0], (40, 80, 40, 80), strict=False))
                lines = [f"1 {xmin} {ymin} {xmax} {(ymin + ymax) / 2} {(xmin + xmax) / 2} {ymax}"]
            if lines:
                (folder / f"{part}/labels").mkdir(exist_ok=True)
                (folder / f"{part}/labels/{name}.txt").write_text("\n".join(lines) + "\n")
    return {"yolo": str(folder)}


def as_table(folder):
    lines = ["filename,split,class,xmin,ymin,xmax,ymax"]
    for part, images in IMAGES.items():
        for name, boxes in images.items():
            write_image(folder / f"{name}.png")
            lines += [f"{name}.png,{part},{label},{xmin},{ymin},{xmax},{ymax}"
                      for ymin, xmin, ymax, xmax, label in boxes]
            if not boxes:
                lines.append(f"{name}.png,{part},,,,,")
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")
    return {"box_table": str(folder / "boxes.csv")}


def recipe_of(source, **data):
    return Recipe.model_validate({
        "name": "x", "task": "object_detection", "model": {"builder": "yolov8"},
        "data": {"source": source, "image": {"size": 32}, "boxes": {"most": 3}, "batch": 1, **data}})


@pytest.mark.parametrize("write", [as_coco, as_exported_coco, as_voc, as_yolo, as_table])
def test_every_form_says_the_same(write, tmp_path):
    recipe = recipe_of(write(tmp_path))
    source = recipe.data.source
    source.prepare()
    assert source.parts() == ["train", "validation", "test"] and source.size("train") == 2
    assert source.fields()["boxes"].names == NAMES
    before = source.fingerprint()
    assert Source.read(source.written()).fingerprint() == before
    index = build_index(recipe.data, recipe.task, 7)
    assert not index.unreadable and index.counts["train"] == {"boxes": [1, 1]}
    data = Data(recipe.data, recipe.task, index, 7)
    for part, images in IMAGES.items():
        inputs, targets = data.arrays(PARTS[part], 2)
        assert inputs["image"].shape == (len(images), 32, 32, 3)
        for rows, boxes in zip(targets["boxes"], images.values(), strict=True):
            expected = [[ymin / 40, xmin / 80, ymax / 40, xmax / 80, NAMES.index(name), 0]
                        for ymin, xmin, ymax, xmax, name in boxes]
            expected += [[-1] * 6] * (3 - len(boxes))
            np.testing.assert_allclose(rows, expected, atol=1e-6)
    example = next(source.examples("test", [0]).as_numpy_iterator())
    assert example["id"].decode().endswith("d.png")
    image = next(tmp_path.rglob("d.png"))
    image.write_bytes(image.read_bytes() + b"longer")
    assert Source.read(source.written()).fingerprint() != before


def test_boxes_that_cannot_be_are_counted_and_limited(tmp_path):
    written = as_yolo(tmp_path)
    (tmp_path / "train/labels/a.txt").write_text("0 0.9 0.5 0.5 0.5\n")
    (tmp_path / "train/labels/b.txt").write_text("4 0.5 0.5 0.5 0.5\n")
    write_image(tmp_path / "train/images/e.png")
    recipe = recipe_of(written, max_unreadable=0.9)
    index = build_index(recipe.data, recipe.task, 7)
    reasons = {one.name[-5:]: one.reason for one in index.unreadable}
    assert "outside the image" in reasons["a.png"] and "of class 4, but there are 2 classes" in reasons["b.png"]
    assert index.splits["train"].examples == 1


def test_numbered_names_are_taken_by_their_numbers(tmp_path):
    written = as_yolo(tmp_path)
    text = (tmp_path / "data.yaml").read_text()
    (tmp_path / "data.yaml").write_text(text.replace("0: cat, 1: dog", "1: dog, 0: cat"))
    assert Source.read(written).names() == NAMES


def test_shares_may_be_rounded_beyond_the_image(tmp_path):
    write_image(tmp_path / "a.png")
    (tmp_path / "b.csv").write_text("file,class,xmin,ymin,xmax,ymax\na.png,x,0,0,1.0004,.5\n")
    rows = Source.read({"box_table": str(tmp_path / "b.csv")}).annotated()["train"].rows
    assert rows.tolist() == [[0.0, 0.0, 0.5, 1.0004, 0.0, 0.0]]


def test_parts_of_a_list_of_both_are_told_apart(tmp_path):
    written = as_voc(tmp_path)
    (tmp_path / "ImageSets/Main/train.txt").unlink()
    (tmp_path / "ImageSets/Main/trainval.txt").write_text("a\nb\nc\n")
    source = Source.read(written)
    source.prepare()
    assert [source.size(part) for part in source.parts()] == [2, 1, 1]


def test_an_image_that_is_not_there_is_counted(tmp_path):
    written = as_coco(tmp_path)
    (tmp_path / "train2017/a.png").unlink()
    recipe = recipe_of(written)
    index = build_index(recipe.data, recipe.task, 7)
    assert [(one.name[-5:], one.reason) for one in index.unreadable] == [("a.png", "empty file")]


@pytest.mark.parametrize(("write", "change", "expected"), [
    (as_coco, lambda folder: [path.unlink() for path in folder.rglob("*.png")], "none of the 1 test images is there"),
    (as_coco, lambda folder: (folder / "annotations/instances_val2017.json").write_text("[]"), "has no list images"),
    (as_coco, lambda folder: (folder / "annotations/instances_val2017.json").write_text("{"), "cannot be read as JSON"),
    (as_coco, lambda folder: [path.unlink() for path in folder.rglob("*.json")], "has no annotations/"),
    (as_coco, lambda folder: (folder / "annotations/instances_train2017.json").write_text(json.dumps(
        {**coco(IMAGES["train"], 0), "annotations": [{"image_id": 0, "category_id": 7}]})),
     r"annotations\[0\] has no bbox"),
    (as_coco, lambda folder: (folder / "annotations/instances_train2017.json").write_text(json.dumps(
        {**coco(IMAGES["train"], 0), "annotations": [{"image_id": 9, "category_id": 7, "bbox": [0, 0, 1, 1]}]})),
     "is of image 9, which is not among the images"),
    (as_voc, lambda folder: (folder / "Annotations/a.xml").write_text("<annotation>"), "a.xml cannot be read"),
    (as_voc, lambda folder: (folder / "ImageSets/Main/test.txt").write_text("z\n"), "names z, which has no .xml file"),
    (as_voc, lambda folder: (folder / "Annotations/a.xml").write_text(
        (folder / "Annotations/a.xml").read_text().replace("<width>80</width>", "")), "does not say how large"),
    (as_coco, lambda folder: (folder / "annotations/instances_val2017.json").write_text(json.dumps(
        {**coco(IMAGES["val"], 100), "categories": [{"id": 14, "name": "cat"}, {"id": 7, "name": "dog"}]})),
     "category 7 is 'cat' in one of the files and 'dog' in another"),
    (as_coco, lambda folder: (folder / "annotations/instances_train2017.json").write_text(json.dumps(
        {**coco(IMAGES["train"], 0), "annotations": [{"image_id": 0, "category_id": 7, "bbox": []}]})),
     r"annotations\[0\] has \[\] where numbers are wanted: left, top, width and height"),
    (as_coco, lambda folder: (folder / "annotations/instances_train2017.json").write_text(json.dumps(
        {**coco(IMAGES["train"], 0), "images": [{"id": 0, "file_name": "a.png", "height": 40, "width": 80}] * 2})),
     "two images have one id"),
    (as_voc, lambda folder: (folder / "ImageSets/Main/test.txt").write_text("a\n"), "a.png is in test and in train"),
    (as_voc, lambda folder: (folder / "Annotations/a.xml").write_text(
        (folder / "Annotations/a.xml").read_text().replace("<name>cat</name>", "")), "has an object without a name"),
    (as_yolo, lambda folder: (folder / "data.yaml").write_text(
        (folder / "data.yaml").read_text().replace("0: cat, 1: dog", "1: cat, 2: dog")), "numbers from 0 with a name"),
    (as_yolo, lambda folder: (folder / "test/labels/d.txt").unlink(), "none of the 1 images in .* has a text file"),
    (as_yolo, lambda folder: (folder / "train/labels/a.txt").write_bytes("1 0.5".encode("utf-16")), "no text in UTF-8"),
    (as_table, lambda folder: (folder / "boxes.csv").write_text(
        "file,class,xmin,ymin,xmax,ymax\na.png,x,1,2,3,9\na.png,x,.1,.2,.3,.9\n"), "in pixels and such as shares"),
    (as_yolo, lambda folder: (folder / "train/labels/a.txt").write_text("1 0.5 0.5\n"), "a.txt line 1 must be a class"),
    (as_yolo, lambda folder: (folder / "data.yaml").write_text("train: a\n"), "has no names"),
    (as_yolo, lambda folder: (folder / "data.yaml").write_text("train: a\nnames: [x]\n"), "train is a, and there is"),
    (as_table, lambda folder: (folder / "boxes.csv").write_text("file,class,xmin,ymin,xmax\n"), "no column for ymax"),
    (as_table, lambda folder: (folder / "boxes.csv").write_text(
        "file,class,xmin,ymin,xmax,ymax\na.png,x,1,2,3,b\n"), "row 1 has the sides 2, 1, b, 3")])
def test_what_cannot_be_read_is_said(write, change, expected, tmp_path):
    source = Source.read(write(tmp_path))
    change(tmp_path)
    with pytest.raises(UserError, match=expected):
        source.prepare()
        source.fields()
        source.parts()


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo", "box_table"])
def test_what_is_not_there_is_said(kind, tmp_path):
    with pytest.raises(UserError, match=f"data.source.{kind}.path: there is no"):
        Source.read({kind: str(tmp_path / "nowhere")}).fingerprint()


def faulty(folder):
    """Return a recipe of images whose boxes have every fault, and a crowd."""
    images = {f"{number}": [] for number in range(8)}
    for name in images:
        write_image(folder / f"{name}.png")
    document = coco(images, 0)
    wrong = {0: [0, 0, 0, 9], 1: [70, 0, 20, 9], 2: [20, 9, -5, -5], 3: [1, 1, 5, 5], 5: [2, 2, 6, 6]}
    document["annotations"] = [{"id": 1 + number, "image_id": number, "bbox": box, "iscrowd": int(number == 5),
                                "category_id": 99 if number == 3 else 7} for number, box in wrong.items()]
    document["annotations"] += [{"id": 20 + number, "image_id": 4, "bbox": [1, 1, 5, 5], "category_id": 14}
                                for number in range(4)]
    (folder / "c.json").write_text(json.dumps(document))
    return recipe_of({"coco": str(folder / "c.json")}, max_unreadable=0.7)


def test_every_fault_is_counted_and_named(tmp_path):
    """Of eight images one has a box of no area, one outside, one swapped, one of no known class, one too many boxes."""
    recipe = faulty(tmp_path)
    looked = recipe.data.source.looked_at(Reader(recipe.data, recipe.task).features)
    assert str(looked) == ("9 boxes in 8 images: 1 of an unknown class, 1 with sides swapped, 1 outside the image, "
                           "1 of no area, 1 of crowds, more than 3 in 1 image")
    assert (looked.examples, looked.faulty) == (8, 5) and looked.first.endswith("0.png")
    index = build_index(recipe.data, recipe.task, 7)
    reasons = {one.name[-5:]: one.reason for one in index.unreadable}
    assert {name: reason.partition("of 1, ")[2] for name, reason in reasons.items() if name != "4.png"} == {
        "0.png": "of no area", "1.png": "that is outside the image: 0.000, 0.875, 0.225, 1.125",
        "2.png": "whose sides are swapped", "3.png": "of class -1, but there are 2 classes, 0 to 1"}
    assert reasons["4.png"] == "has 4 boxes; raise data.boxes.most, which is 3, or take some out"
    assert index.counts["train"]["boxes"] == [0, 0], "a crowd is not counted"


def test_a_check_counts_faults_and_draws_what_is_right(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = faulty(tmp_path)
    assert check.count_faults(recipe.written()).startswith("9 boxes in 8 images: 1 of an unknown class")
    strict = recipe.model_copy(update={"data": recipe.data.model_copy(update={"max_unreadable": 0.5})})
    with pytest.raises(UserError, match=r"5 of 8 examples have faults \(limit 50\.00%\)\. The first: .*0\.png\. Mend"):
        check.count_faults(strict.written())
    check.draw_samples(recipe.written(), tmp_path / "runs/x/check.png")
    pixels = np.asarray(PIL.Image.open(tmp_path / "runs/x/check.png").convert("RGB")).reshape(-1, 3).astype(int)
    assert (np.ptp(pixels, axis=1) > 60).any(), "a box is drawn in its colour"


def test_images_without_any_box_are_refused(tmp_path):
    recipe = recipe_of(as_yolo(tmp_path))
    for path in tmp_path.rglob("labels/*.txt"):
        path.write_text("")
    with pytest.raises(UserError, match="no image of the train split has a box; annotate some"):
        recipe.task.dimensions(build_index(recipe.data, recipe.task, 7))
