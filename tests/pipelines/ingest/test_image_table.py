"""Images that a CSV file lists with their labels."""
import numpy as np
import PIL.Image
import pytest

from pipelines.errors import UserError
from pipelines.ingest import Source
from pipelines.tools.data_option import source_of
from tests.pipelines.ingest.conftest import data_of, index_of

LEVELS = {"oak": 40, "elm": 120, "ash": 200}


@pytest.fixture
def trees(tmp_path):
    """Return a folder of 30 grey images, of which `listed` lists the first with their class."""
    (tmp_path / "photos").mkdir()
    for number in range(30):
        image = np.full((10, 8), list(LEVELS.values())[number % 3], "uint8")
        PIL.Image.fromarray(image).save(tmp_path / "photos" / f"{number:02}.png")
    return tmp_path


def listed(folder, header="file_name,label", row=lambda number, name, label: f"{name},{label}", count=30):
    lines = [row(number, f"photos/{number:02}.png", list(LEVELS)[number % 3]) for number in range(count)]
    (folder / "labels.csv").write_text("\n".join([header, *lines]) + "\n")
    return {"image_table": str(folder / "labels.csv")}


@pytest.mark.parametrize(("header", "row"), [
    ("file_name,label", lambda number, name, label: f"{name},{label}"),
    ("Label,Image", lambda number, name, label: f"{label},{name}"),
    ("id;class;camera", lambda number, name, label: f"{name};{label};7"),
    ("filename,category", lambda number, name, label: rf'"{name}"'.replace("/", "\\") + f",{label}")])
def test_columns_are_found_by_the_names_that_they_usually_have(trees, header, row):
    data = data_of(listed(trees, header, row))
    assert data.index.names("label") == ["ash", "elm", "oak"] and data.index.unreadable == []
    assert {part: split.examples for part, split in data.index.splits.items()} == {"train": 21, "validation": 3,
                                                                                   "test": 6}
    for part in data.index.splits:
        inputs, targets = data.arrays(part, 30)
        expected = [LEVELS[data.index.names("label")[label]] for label in targets["label"]]
        np.testing.assert_array_equal(inputs["image"].reshape(len(expected), -1).mean(axis=1), expected)


def test_columns_folder_and_ending_may_be_given(trees):
    (trees / "lists").mkdir()
    written = listed(trees / "lists", "what,which,when", lambda number, name, label: f"{label},{number:02},now")
    with pytest.raises(UserError, match=r"image_table\.image: .*labels\.csv has no column called file_name, filename, "
                                        "file, image_path or the like; its columns: what, which, when"):
        index_of(written)
    settings = {"path": written["image_table"], "image": "which", "label": "what", "suffix": ".png",
                "folder": str(trees / "photos")}
    assert index_of({"image_table": settings}).names("label") == ["ash", "elm", "oak"]
    with pytest.raises(UserError, match=r"image_table\.label: .* has no column tree; its columns"):
        index_of({"image_table": settings | {"label": "tree"}})


def test_a_table_may_say_what_is_tested_on(trees):
    parts = ["train"] * 18 + ["val"] * 6 + ["test"] * 6
    index = index_of(listed(trees, "path,label,split", lambda number, name, label: f"{name},{label},{parts[number]}"))
    assert {part: split.examples for part, split in index.splits.items()} == {"train": 18, "validation": 6, "test": 6}


def test_labels_may_be_numbers_and_words_may_look_like_missing_values(trees):
    written = listed(trees, row=lambda number, name, label: f"{name},{9 + number % 3}")
    source = Source.read(written)
    assert source.fields()["label"].names == ["9", "10", "11"], "not in alphabetical order"
    assert [int(example["label"]) for example in source.examples("train", [0, 1, 5])] == [0, 1, 2]
    assert source.of_model(12).fields()["label"].names == [str(number) for number in range(12)]
    missing = Source.read(listed(trees, row=lambda number, name, label: f"{name},{('NA', 'null', 'yes')[number % 3]}"))
    assert missing.fields()["label"].names == ["NA", "null", "yes"]


def test_press_takes_a_table(trees):
    written = listed(trees)
    source = source_of(written["image_table"])
    assert source.written()["image_table"]["path"] == written["image_table"]
    assert source.of_model(3).fields()["label"].names == ["ash", "elm", "oak"]


@pytest.mark.parametrize(("change", "message"), [
    (lambda trees: (trees / "photos" / "03.png").unlink(), "1 file is not there, the first in row 4: .*photos/03.png"),
    (lambda trees: [path.unlink() for path in (trees / "photos").glob("2*")], "10 of 30 files are not there, the first "
                                                                            "in row 21: .*20.png. Say in folder"),
    (lambda trees: listed(trees, row=lambda number, name, label: f"{name},{label if number else ''}"),
     "row 1 has no label; fill it in"),
    (lambda trees: listed(trees, "file,label,split", lambda number, name, label: f"{name},{label},later"),
     "row 1 is of the split 'later'; write train, validation or test"),
    (lambda trees: listed(trees, "file,label,split", lambda number, name, label: f"{name},{label},test"),
     "has no rows to train on"),
    (lambda trees: listed(trees, row=lambda number, name, label: f"photos/00.png,{label}"),
     r"has photos/00\.png in row 1 as oak \(train\), and in row 2 as elm \(train\); an image has one label"),
    (lambda trees: (trees / "labels.csv").write_text(""), "labels.csv is empty"),
    (lambda trees: (trees / "labels.csv").unlink(), "image_table.path: there is no file .*labels.csv")])
def test_what_is_wrong_with_a_table_is_one_line(trees, change, message):
    written = listed(trees)
    change(trees)
    with pytest.raises(UserError, match=message) as refused:
        Source.read(written).fingerprint()
    assert "\n" not in str(refused.value)


def test_the_fingerprint_changes_with_the_table_and_with_the_files(trees):
    source = Source.read(listed(trees))
    before = source.fingerprint()
    listed(trees, count=29)
    after = source.fingerprint()
    PIL.Image.new("L", (3, 3)).save(trees / "photos" / "00.png")
    assert len({before, after, source.fingerprint()}) == 3
