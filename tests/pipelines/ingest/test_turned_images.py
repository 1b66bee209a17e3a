"""Images that lie on their side in their files, with boxes of what lies there or of what is shown; and what is kept of
large sets."""
import json

import numpy as np
import PIL.Image
import pytest

from pipelines.features.boxes import turned
from pipelines.features.image import size_of, size_of_file, turned_by
from pipelines.ingest import Source
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.sources import kept, part_names
from tests.pipelines.ingest.test_annotated_images import as_coco, recipe_of

#: Of the image as it lies in its file: height and width, and a bright thing in it, ymin, xmin, ymax, xmax.
STORED, THING = (40, 80), (4, 48, 16, 72)
ORIENTATION = 274


def write(path, orientation, **settings):
    """Write an image that is dark but for the thing, as a camera that was held otherwise does."""
    pixels = np.full((*STORED, 3), 20, "uint8")
    ymin, xmin, ymax, xmax = THING
    pixels[ymin:ymax, xmin:xmax] = 230
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    PIL.Image.fromarray(pixels).save(path, exif=exif, **settings)


def shown(path):
    """Return the thing's sides in the image as it is shown, and its height and width."""
    pixels = np.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(path)).convert("L")) > 120
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1), pixels.shape


def coco_of(folder, sides, size):
    ymin, xmin, ymax, xmax = (int(side) for side in sides)
    (folder / "c.json").write_text(json.dumps({
        "images": [{"id": 1, "file_name": "a.jpg", "height": size[0], "width": size[1]}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [xmin, ymin, xmax - xmin, ymax - ymin]}],
        "categories": [{"id": 1, "name": "thing"}]}))
    return Source.read({"coco": str(folder / "c.json")})


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("annotated", ["stored", "shown"])
def test_boxes_are_turned_where_they_are_of_what_lies_in_the_file(orientation, annotated, tmp_path):
    """An image that is turned by no quarter has one size either way: its boxes are those of what is shown."""
    write(tmp_path / "a.jpg", orientation, quality=95)
    sides, size = shown(tmp_path / "a.jpg")
    if annotated == "stored" and orientation >= 5:
        source = coco_of(tmp_path, THING, STORED)
    else:
        source = coco_of(tmp_path, sides, size)
    boxes = next(source.examples("train").as_numpy_iterator())["boxes"]
    expected = np.array(sides) / [*size, *size]
    np.testing.assert_allclose(boxes[0, :4], expected, atol=0.02)


def test_a_square_image_has_boxes_of_what_is_shown(tmp_path):
    source = coco_of(tmp_path, (0, 0, 10, 20), (40, 40))
    write(tmp_path / "a.jpg", 6)
    assert next(source.examples("train").as_numpy_iterator())["boxes"][0, :4].tolist() == [0, 0, 0.25, 0.5]


@pytest.mark.parametrize("suffix", ["jpg", "webp", "tiff"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_sizes_are_read_off_headers(suffix, orientation, tmp_path):
    path = tmp_path / f"a.{suffix}"
    write(path, orientation)
    expected = STORED[::-1] if orientation == 6 else STORED
    assert size_of_file(str(path)) == size_of(path.read_bytes()) == expected
    assert turned_by(path.read_bytes()) == orientation
    path.write_bytes(path.read_bytes()[:10])
    assert size_of_file(str(path)) is None


def test_two_turns_are_none():
    rows = np.array([[0.1, 0.2, 0.3, 0.6, 2, 1]], "float32")
    for orientation in (2, 3, 4, 5, 7):
        np.testing.assert_allclose(turned(turned(rows, orientation), orientation), rows, atol=1e-6)
    np.testing.assert_allclose(turned(turned(rows, 6), 8), rows, atol=1e-6)


def test_large_annotations_are_read_once(tmp_path, monkeypatch):
    """Outlines, of which such files consist, are not kept at all."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "LARGE", 1)
    (tmp_path / "data").mkdir()
    written = as_coco(tmp_path / "data")
    file = tmp_path / "data/annotations/instances_train2017.json"
    document = json.loads(file.read_text())
    document["annotations"][0]["segmentation"] = [[0.0] * 1000]
    file.write_text(json.dumps(document))
    source = Source.read(written)
    first, digest = source.annotated(), source.fingerprint()
    (entry,) = kept.folder().iterdir()
    assert entry.stat().st_size < 5000
    from pipelines.ingest.sources import coco
    coco._read.cache_clear()
    monkeypatch.setattr(coco, "_document", None)  # would be called were the files read again
    again = source.annotated()
    assert source.fingerprint() == digest and source.names() == ["cat", "dog"]
    for part, images in first.items():
        assert again[part].paths == images.paths
        np.testing.assert_array_equal(again[part].rows, images.rows)
    for number in range(2 * kept.MOST):
        (kept.folder() / f"{number}.npz").write_bytes(b"")
    kept._save(kept.folder() / "new.npz", ({}, []))
    assert len(list(kept.folder().glob("*.npz"))) == kept.MOST


def test_boxes_are_counted_as_they_are_read(tmp_path, monkeypatch):
    recipe = recipe_of(as_coco(tmp_path))
    kind, read = type(recipe.data.source), []
    plain = kind.examples
    monkeypatch.setattr(kind, "examples", lambda source, part, positions=None: (
        read.append(part) or plain(source, part, positions)))
    index = build_index(recipe.data, recipe.task, 7)
    assert index.counts["train"] == {"boxes": [1, 1]} and sorted(read) == ["test", "train", "validation"]
    assert len(Data(recipe.data, recipe.task, index, 7).arrays("train", 2)[0]["image"]) == 2


@pytest.mark.parametrize(("name", "part"), [("val2017", "validation"), ("instances_valid", "validation"),
                                            ("Testing", "test"), ("trainval", "train"), ("cats", None)])
def test_parts_are_known_by_their_names(name, part):
    assert part_names.part_of(name) == part


def test_a_doubtful_folder_is_a_part_beside_training_ones_alone():
    assert part_names.folders_of_parts(["train", "valid", "cats"]) == {"train": "train", "valid": "validation"}
    assert part_names.folders_of_parts(["invalid", "valid"]) == {}
    assert part_names.folders_of_parts(["test", "cats"]) == {"test": "test"}
