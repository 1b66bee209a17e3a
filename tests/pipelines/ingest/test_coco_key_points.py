"""Key points of boxes as COCO writes them."""
import json

import numpy as np
import PIL.Image
import pytest

from pipelines.errors import UserError
from pipelines.features.boxes import held, points_of
from pipelines.ingest.sources.source import Source
from tests.pipelines.ingest.test_annotated_images import as_coco

NAMES = ["left_eye", "right_eye"]
HEIGHT, WIDTH = 40, 80


def document(**changes):
    """Return what a file says of an image with two faces, of one of which an eye is not marked."""
    one = {"image_id": 1, "category_id": 1, "iscrowd": 0}
    return {"images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH},
                       {"id": 2, "file_name": "b.png", "height": HEIGHT, "width": WIDTH}],
            "categories": [{"id": 1, "name": "face", "keypoints": NAMES}, {"id": 2, "name": "not used"}],
            "annotations": [{"id": 1, "bbox": [8, 4, 40, 20], "keypoints": [16, 10, 2, 32, 8, 1], **one},
                            {"id": 2, "bbox": [0, 0, 8, 8], "keypoints": [4, 2, 2, 0, 0, 0], **one}], **changes}


def written(folder, content):
    for name in ("a", "b"):
        PIL.Image.new("RGB", (WIDTH, HEIGHT)).save(folder / f"{name}.png")
    (folder / "faces.json").write_text(json.dumps(content))
    return Source.read({"coco": {"path": str(folder / "faces.json"), "key_points": True}})


def test_key_points_are_read_with_their_boxes(tmp_path):
    source = written(tmp_path, document())
    assert source.fields()["boxes"].points == NAMES and source.fields()["boxes"].names == ["face"]
    one, other = source.examples("train").as_numpy_iterator()
    np.testing.assert_allclose(one["boxes"], [[0.1, 0.1, 0.6, 0.6, 0, 0, 0.25, 0.2, 1, 0.2, 0.4, 1],
                                              [0, 0, 0.2, 0.1, 0, 0, 0.05, 0.05, 1, 0, 0, 0]], atol=1e-6)
    assert other["boxes"].shape == (0, 12)
    alone = Source.read({"coco": str(tmp_path / "faces.json")})
    assert alone.fields()["boxes"].points is None and next(iter(alone.examples("train")))["boxes"].shape == (2, 6)


def test_other_names_of_key_points_are_other_data(tmp_path):
    source = written(tmp_path, document())
    renamed = document(categories=[{"id": 1, "name": "face", "keypoints": ["right_eye", "left_eye"]}])
    assert source.fingerprint() != written(tmp_path, renamed).fingerprint()


@pytest.mark.parametrize(("changes", "expected"), [
    ({"categories": [{"id": 1, "name": "face"}]}, r"categories\[0\] has no list of names keypoints; add it, or leave"),
    ({"categories": [{"id": 1, "name": "face", "keypoints": ["a", "b", "c"]}]}, "annotation 1 has keypoints that are "
                                                                               "not x, y, v of 3 key points"),
    ({"categories": [{"id": 1, "name": "face", "keypoints": NAMES}, {"id": 2, "name": "dog", "keypoints": ["tail"]}],
      "annotations": [{"image_id": 1, "category_id": number, "bbox": [0, 0, 8, 8]} for number in (1, 2)]},
     r"categories\[1\] has the key points tail, and another category has left_eye, right_eye")])
def test_what_is_wrong_with_key_points_is_said(tmp_path, changes, expected):
    with pytest.raises(UserError, match=expected):
        written(tmp_path, document(**changes)).names()


def test_files_of_key_points_are_taken_where_there_are_some(tmp_path):
    """As COCO's own folder has them, beside those of all classes."""
    folder = as_coco(tmp_path)["coco"]
    for part in ("train", "val"):
        content = document()
        for image in content["images"]:
            image["file_name"] = f"{image['file_name'].removesuffix('.png')}_{part}.png"
            PIL.Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / f"{part}2017" / image["file_name"])
        (tmp_path / f"annotations/person_keypoints_{part}2017.json").write_text(json.dumps(content))
    source = Source.read({"coco": {"path": folder, "key_points": True}})
    source.prepare()
    assert source.names() == ["face"] and source.parts() == ["train", "validation"]
    feature = np.concatenate([one["boxes"] for one in source.examples("validation").as_numpy_iterator()])
    assert feature.shape == (2, 12) and len(held(feature)) == 2 and points_of(np.zeros((1, 14))).shape == (1, 2, 4)
    assert Source.read({"coco": folder}).names() != ["face"]
