"""Sources of two images an example: filters against SciPy, training without pairs, and folders that do not fit."""
import io

import numpy as np
import PIL.Image
import pytest
import scipy.ndimage
from pydantic import ValidationError

from pipelines.errors import UserError
from pipelines.ingest.sources import filtered
from pipelines.ingest.sources.source import Source

IMAGE = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype("float32")


def pixels(content):
    return np.asarray(PIL.Image.open(io.BytesIO(content)))


def folders(root, **names):
    """Write a small image of a level of its own under each name, in each of some folders."""
    for folder, files in names.items():
        path = root / folder.replace("__", "/")
        path.mkdir(parents=True)
        for number, name in enumerate(files):
            if name.endswith(".png"):
                PIL.Image.fromarray(np.full((4, 4), 10 * number, "uint8")).save(path / name)
            else:
                (path / name).write_text("words")
    return root


def test_edges_are_where_sobels_slope_is_steep():
    grey = IMAGE.mean(axis=-1)
    slope = np.hypot(*(scipy.ndimage.sobel(grey, axis, mode="mirror") for axis in (0, 1)))
    made = filtered.edges(IMAGE)[..., 0]
    clear = np.abs(slope - 255) > 1e-2
    np.testing.assert_array_equal(made[clear], np.where(slope >= 255, 255, 0)[clear])
    assert 0 < made.mean() < 255


def test_blur_and_levels_are_what_they_say():
    weights = np.array([1, 4, 6, 4, 1]) / 16
    expected = scipy.ndimage.convolve1d(scipy.ndimage.convolve1d(IMAGE, weights, 0, mode="nearest"), weights, 1,
                                        mode="nearest")
    np.testing.assert_allclose(filtered.blur(IMAGE), expected, atol=1e-3)
    assert sorted(np.unique(filtered.levels(IMAGE))) == [0, 85, 170, 255]


def test_without_pairs_training_images_are_others_and_test_images_are_not():
    pairs, others = (Source.read({"filtered": {"of": "digits", "filter": "levels", "paired": paired}})
                     for paired in (True, False))
    pairs.prepare()
    positions = [0, 5, 800, 1437]
    for part, apart in (("train", True), ("test", False)):
        at = [one for one in positions if one < pairs.size(part)]
        shown = [list(source.examples(part, at).as_numpy_iterator()) for source in (pairs, others)]
        for one, other in zip(*shown, strict=True):
            assert one["image"] == other["image"] and one["id"] == other["id"]
            assert (one["target"] != other["target"]) == apart
            np.testing.assert_allclose(pixels(one["image"]), filtered.levels(pixels(one["target"]).astype(float)))
    whole = [one["target"] for one in pairs.examples("train").as_numpy_iterator()]
    half = len(whole) // 2
    assert [one["target"] for one in others.examples("train").as_numpy_iterator()] == whole[half:] + whole[:half]


def test_folders_are_pairs_by_name_or_no_pairs(tmp_path):
    root = folders(tmp_path, trainA=["1.png", "2.png", "3.png"], trainB=["1.png", "2.png", "3.png"],
                   testA=["9.png"], testB=["9.png"])
    source = Source.read({"two_image_folders": str(root)})
    assert source.parts() == ["train", "test"] and source.size("train") == 3
    example = next(source.examples("train", [2]).as_numpy_iterator())
    assert example["id"].decode() == str(root / "trainA/3.png") and pixels(example["target"])[0, 0] == 20
    other = folders(tmp_path / "more", train__A=["a.png", "b.png"], train__B=[f"{one}.png" for one in range(6)])
    apart = Source.read({"two_image_folders": {"path": str(other), "paired": False}})
    assert [beside.rpartition("/")[2] for _, beside in apart.pairs("train")] == ["0.png", "3.png"]
    before = apart.fingerprint()
    (other / "train/B/0.png").unlink()
    assert apart.fingerprint() != before


@pytest.mark.parametrize(("names", "paired", "message"), [
    ({"A": ["1.png"]}, False, r"there is no folder .*/B; .* has A. Make one of images"),
    ({"A": ["1.png"], "B": ["1.txt", "2.txt"]}, False, "B has 2 files and none of them is an image; both it and"),
    ({"A": ["1.png"], "B": []}, False, "B has no files; both it and .*A must hold images"),
    ({"A": ["1.png", "2.png"], "B": ["1.png"]}, True, r"1 images have no other of their name in .*B, the first .*2"),
    ({"A": ["1.png"], "B": ["1.png", "3.png"]}, True, "no other of their name in .*A, the first .*B/3.png"),
    ({"testA": ["1.png"], "testB": ["1.png"]}, True, "has test but no train folder")])
def test_folders_of_unequal_kinds_are_refused_in_a_line(names, paired, message, tmp_path):
    source = Source.read({"two_image_folders": {"path": str(folders(tmp_path, **names)), "paired": paired}})
    with pytest.raises(UserError, match=message) as error:
        [source.pairs(part) for part in source.parts()]
    assert "\n" not in str(error.value)


def test_a_slice_of_a_brain_is_made_of_its_tissue():
    plain, source = Source.read("brain"), Source.read({"from_masks": "brain"})
    assert source.parts() == plain.parts() and source.size("test") == plain.size("test")
    one, made = (next(each.examples("test", [3]).as_numpy_iterator()) for each in (plain, source))
    assert made["target"] == one["image"] and made["id"] == one["id"]
    np.testing.assert_array_equal(pixels(made["image"]), np.array([0, 85, 170, 255], "uint8")[one["mask"]])
    others = Source.read({"from_masks": {"of": "brain", "paired": False}})
    first = next(others.examples("train", [0]).as_numpy_iterator())
    half = next(source.examples("train", [source.size("train") // 2]).as_numpy_iterator())
    assert first["target"] == half["target"]


def test_masks_in_files_are_painted_too(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        PIL.Image.fromarray(np.array([[0, 1], [2, 255]], "uint8")).save(tmp_path / folder / "1.png")
    source = Source.read({"from_masks": {"of": {"image_and_mask_folder": str(tmp_path)}, "classes": 3}})
    assert source.fields().keys() == {"image", "target"}
    made = next(source.examples("train").as_numpy_iterator())
    assert pixels(made["image"]).tolist() == [[0, 128], [255, 0]], "what is of no class is black"
    with pytest.raises(UserError, match="does not say how many classes its masks have; set classes"):
        Source.read({"from_masks": {"of": {"image_and_mask_folder": str(tmp_path)}}}).fields()
    with pytest.raises(UserError, match=r"from_masks\.of: digits has no masks; its examples have .*image"):
        Source.read({"from_masks": "digits"}).fields()


def test_what_cannot_be_filtered_is_said():
    with pytest.raises(ValidationError, match="give a source of single images"):
        Source.read({"filtered": {"of": {"filtered": {"of": "digits"}}}})
    with pytest.raises(UserError, match=r"data\.source\.filtered\.of: prose has no image files"):
        Source.read({"filtered": "prose"}).fields()
    with pytest.raises(UserError, match=r"two_image_folders\.path: nowhere is not there"):
        Source.read({"two_image_folders": "nowhere"}).fingerprint()
