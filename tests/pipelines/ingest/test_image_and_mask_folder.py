"""Folders of images and of masks: what belongs together, and what is said where something is missing."""
import pickle
import re

import numpy as np
import PIL.Image
import pytest

from pipelines.errors import UserError
from pipelines.ingest.sources.source import Source
from pipelines.tasks.semantic_segmentation import SemanticSegmentation
from tests.pipelines.ingest.conftest import data_of


def put(root, name, *, mask=True, size=(12, 10), folders=("images", "masks"), behind="", ending="png"):
    """Write an image of one grey level, and a mask whose class is that of the level."""
    image = root / folders[0] / f"{name}.{ending}"
    image.parent.mkdir(parents=True, exist_ok=True)
    level = (len(list(image.parent.iterdir())) % 2) * 200
    PIL.Image.fromarray(np.full((10, 12, 3), level, "uint8")).save(image)
    target = root / folders[1] / f"{name}{behind}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    if mask:
        PIL.Image.fromarray(np.full(size[::-1], level // 200, "uint8")).save(target)


def source_of(root, **settings):
    return Source.read({"image_and_mask_folder": {"path": str(root), **settings}})


@pytest.fixture
def folder(tmp_path):
    for number in range(20):
        put(tmp_path, f"{number:02d}", ending=("png", "jpg", "bmp")[number % 3])
    return tmp_path


def test_images_go_with_the_masks_of_their_name(folder):
    data = data_of({"image_and_mask_folder": str(folder)}, SemanticSegmentation(), image={"size": 8, "channels": 1})
    assert sum(split.examples for split in data.index.splits.values()) == 20
    assert data.index.names("mask") == ["background", "foreground"]
    for part in ("train", "validation", "test"):
        inputs, targets = data.arrays(part, 99)
        assert targets["mask"].shape == inputs["image"].shape[:3] == (len(inputs["image"]), 8, 8)
        np.testing.assert_array_equal(targets["mask"], inputs["image"][..., 0] > 100)


def test_the_same_seed_gives_the_same_batches_in_another_process_too(folder):
    written = {"image_and_mask_folder": str(folder)}
    data = data_of(written, SemanticSegmentation(), image={"size": 8, "channels": 1}, augment=["flip", {"crop": 2}],
                   batch=4)
    sent = pickle.loads(pickle.dumps(data))
    for one, other in zip(data.training(0, 2), sent.training(0, 2), strict=True):
        np.testing.assert_array_equal(one[0]["image"], other[0]["image"])
        np.testing.assert_array_equal(one[1]["mask"], other[1]["mask"])
        known = one[1]["mask"].numpy().any(-1)
        bright = one[0]["image"].numpy()[..., 0] > 100
        np.testing.assert_array_equal(one[1]["mask"].numpy().argmax(-1)[known], bright[known])


def test_parts_folders_below_and_other_names(tmp_path):
    for part, count in (("train", 4), ("val", 2), ("test", 3)):
        for number in range(count):
            put(tmp_path / part, f"site{number % 2}/{number}", folders=("scans", "labels"), behind="_seg")
    source = source_of(tmp_path, images="scans", masks="labels", suffix="_seg")
    assert source.parts() == ["train", "validation", "test"]
    assert [source.size(part) for part in source.parts()] == [4, 2, 3]
    names = [one["id"].decode() for one in source.examples("train", [1, 3]).as_numpy_iterator()]
    assert [name.split("scans/")[1] for name in names] == ["site0/2.png", "site1/3.png"]


def test_the_fingerprint_changes_with_a_mask(folder):
    before = source_of(folder).fingerprint()
    assert source_of(folder).fingerprint() == before
    PIL.Image.fromarray(np.ones((10, 12), "uint8")).save(folder / "masks" / "05.png", compress_level=0)
    assert source_of(folder).fingerprint() != before


def without_masks(root):
    for name in ("03", "07"):
        (root / "masks" / f"{name}.png").unlink()


def without_image(root):
    (root / "images" / "04.jpg").unlink()


def renamed(root):
    (root / "masks").rename(root / "truth")


def twice(root):
    put(root, "03", ending="jpg")


def emptied(root):
    for path in (root / "images").iterdir():
        path.unlink()


@pytest.mark.parametrize(("change", "message"), [
    (without_masks, "2 images have no mask in {root}/masks, the first {root}/images/03.png; its mask would be "
                    "{root}/masks/03.png (a JPEG does not keep the values)"),
    (without_image, "1 mask has no image in {root}/images, the first {root}/masks/04.png; take it out, or add the "
                    "image"),
    (renamed, "data.source.image_and_mask_folder.masks: {root} has no folder masks; its folders: images, truth. Give "
              "the name of yours"),
    (twice, "{root}/images/03.jpg and {root}/images/03.png have one name; rename one of them"),
    (emptied, "{root}/images has no images (JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF or PPM)"),
    (lambda root: (root / "test").mkdir(), "{root} has test but no train folder"),
    (lambda root: [(root / name).mkdir() for name in ("train", "val", "validation")],
     "{root} has train, val, validation, and two of them are one part; keep one")])
def test_what_does_not_go_together_is_one_line(folder, change, message):
    change(folder)
    with pytest.raises(UserError, match=re.escape(message.format(root=folder))) as refused:
        source = source_of(folder)
        source.fingerprint()
        source.prepare()
    assert "\n" not in str(refused.value)


def test_a_mask_of_another_size_than_its_image_is_refused(folder):
    put(folder, "05", size=(6, 5), ending="bmp")
    expected = "images/05.bmp has a mask of 5 x 6 pixels and an image of 10 x 12; give masks of their images' size"
    with pytest.raises(UserError, match=re.escape(expected)):
        data_of({"image_and_mask_folder": str(folder)}, SemanticSegmentation(), image={"size": 8, "channels": 1})


def test_hidden_files_are_not_read(folder):
    before = len(source_of(folder).pairs("train"))
    (folder / "images" / ".checkpoints").mkdir()
    for name in ("images/.checkpoints/1.png", "images/._03.png", "masks/._04.png"):
        (folder / name).write_bytes(b"what a file manager leaves")
    assert len(source_of(folder).pairs("train")) == before


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match="is not there; give a folder with the folders images and masks in it"):
        source_of(tmp_path / "nowhere").fingerprint()


def test_a_damaged_image_is_left_to_ingest(folder):
    (folder / "images" / "05.bmp").write_bytes(b"no image")
    data = data_of({"image_and_mask_folder": str(folder)}, SemanticSegmentation(), image={"size": 8, "channels": 1})
    assert [one.name for one in data.index.unreadable] == [str(folder / "images" / "05.bmp")]
