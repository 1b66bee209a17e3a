"""Folders as systems and cameras leave them: what is passed over, and what is named."""
import shutil

import numpy as np
import PIL.Image
import pytest

from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.tasks.semantic_segmentation import SemanticSegmentation
from pipelines.tools.data_option import images_of, is_unlabelled
from tests.pipelines.features.odd_files import HEIC
from tests.pipelines.ingest.conftest import data_of, index_of

MAC = b"\0\5\x16\7\0\2\0\0Mac OS X"
#: What systems, file servers and archives leave beside the images, and files that are of no interest here.
LEFT = ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", "@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", "__MACOSX/._0.png",
        "#recycle/9.png", ".thumbnails/0.png", "notes.txt", "0.json", "0.xml", "list.csv")


def clutter(folder):
    for name in LEFT:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(MAC)


def put(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        PIL.Image.fromarray(np.full((8, 8, 3), 100 * (number % 2), "uint8")).save(folder / name)


NAMES = [f"{number}.{ending}" for number, ending in enumerate(("png", "webp", "tif", "avif", "bmp", "jfif") * 2)]


def test_a_folder_per_class_may_be_cluttered_and_lie_in_a_cluttered_folder(tmp_path):
    for name in ("a", "b"):
        put(tmp_path / name, NAMES)
    clean = index_of({"image_folder": str(tmp_path)})
    for folder in (tmp_path, tmp_path / "a", tmp_path / "b"):
        clutter(folder)
    index = index_of({"image_folder": str(tmp_path)})
    assert index == clean and index.names("label") == ["a", "b"]
    assert sum(split.examples for split in index.splits.values()) == 24 and not index.unreadable


def test_images_that_are_not_read_are_named_and_not_passed_over(tmp_path):
    for name in ("a", "b"):
        put(tmp_path / name, NAMES)
    for name in ("a/1.HEIC", "b/2.heif", "b/deep/3.heic"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(HEIC)
    (tmp_path / "b" / "scan.nef").write_bytes(bytes(99))
    index = index_of({"image_folder": str(tmp_path)})
    named = {one.name.removeprefix(f"{tmp_path}/"): one.reason for one in index.unreadable}
    heic = "a HEIC image, which is not read; save it as a JPEG or PNG"
    assert named == {"a/1.HEIC": heic, "b/2.heif": heic, "b/deep/3.heic": heic,
                     "b/scan.nef": "not a JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF or PPM"}
    assert "4 unreadable" in index.summary


def test_images_and_masks_may_be_cluttered(tmp_path):
    names = [f"{number}.png" for number in range(12)]
    put(tmp_path / "images", names)
    for name in names:
        (tmp_path / "masks").mkdir(exist_ok=True)
        PIL.Image.fromarray(np.eye(8, dtype="uint8")).save(tmp_path / "masks" / name)
    for folder in (tmp_path, tmp_path / "images", tmp_path / "masks"):
        clutter(folder)
    shutil.copy(tmp_path / "masks" / "0.png", tmp_path / "masks" / "heic.png")
    (tmp_path / "images" / "heic.heic").write_bytes(HEIC)
    data = data_of({"image_and_mask_folder": str(tmp_path)}, SemanticSegmentation(), image={"size": 8}, batch=4)
    assert sum(split.examples for split in data.index.splits.values()) == 12
    assert [one.name for one in data.index.unreadable] == [str(tmp_path / "images" / "heic.heic")]


def test_a_flat_folder_may_be_cluttered(tmp_path):
    put(tmp_path, NAMES)
    clutter(tmp_path)
    assert is_unlabelled(str(tmp_path))
    assert images_of(str(tmp_path), (4, 4, 1)).shape == (12, 4, 4, 1)
    assert [path.name for path in image_file.images(tmp_path)] == sorted(NAMES)
    (tmp_path / "12.heic").write_bytes(HEIC)
    with pytest.raises(UserError, match=r"^1 of 13 images cannot be read, the first .*12\.heic: a HEIC image, which is "
                                        r"not read; save it as a JPEG or PNG\. Convert them, or take them out$"):
        images_of(str(tmp_path), (4, 4, 1))
