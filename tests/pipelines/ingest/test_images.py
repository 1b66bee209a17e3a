"""Folders of images without classes, and the texts about them."""
import json

import numpy as np
import PIL.Image
import pytest

from pipelines.errors import UserError
from pipelines.ingest.sources.source import Source


def put(folder, *names, text=None):
    """Write images, and beside each, where one is given, a text."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.full((8, 8), 20 * number, "uint8")).save(path)
        if text is not None:
            path.with_suffix(".txt").write_text(text.format(path.stem))


def source_of(folder, **settings):
    return Source.read({"images": {"path": str(folder), **settings} if settings else str(folder)})


def rows(source, part="train", positions=None):
    return list(source.examples(part, positions).as_numpy_iterator())


def test_images_lie_anywhere_below_and_have_no_class(tmp_path):
    put(tmp_path, "b.png", "a.png", "deep/deeper/c.png")
    (tmp_path / "notes.md").write_text("mine")
    source = source_of(tmp_path)
    assert set(source.fields()) == {"image"} and source.parts() == ["train"] and source.size("train") == 3
    assert [one["id"].decode() for one in rows(source)] == [
        str(tmp_path / name) for name in ("a.png", "b.png", "deep/deeper/c.png")]
    (one,) = rows(source, positions=[2])
    assert one["image"] == (tmp_path / "deep/deeper/c.png").read_bytes()
    assert source.groups("train", "folder", [0, 2]) == ["a", "deep"]


def test_folders_of_parts_are_parts(tmp_path):
    put(tmp_path / "train", "a.png", "b.png")
    put(tmp_path / "test", "c.png")
    source = source_of(tmp_path)
    assert source.parts() == ["train", "test"] and source.size("test") == 1
    assert [one["id"].decode() for one in rows(source, "test")] == [str(tmp_path / "test/c.png")]


@pytest.mark.parametrize("way", ["beside", "csv", "jsonl"])
def test_texts_are_found_beside_images_and_in_tables(tmp_path, way):
    put(tmp_path, "b.png", "a.png", text="one {}\n" if way == "beside" else None)
    if way == "csv":
        (tmp_path / "metadata.csv").write_text("file_name,text,taken\na.png,one a,2020\nb.png,one b,NA\n")
    if way == "jsonl":
        (tmp_path / "metadata.jsonl").write_text("".join(json.dumps({"file_name": f"{name}.png", "text": f"one {name}"})
                                                         + "\n" for name in "ba"))
    source = source_of(tmp_path)
    assert source.fields()["text"].kind == "text"
    assert [one["text"].decode() for one in rows(source)] == ["one a", "one b"]
    assert [one["text"].decode() for one in rows(source, positions=[1])] == ["one b"]


def test_a_changed_text_changes_the_fingerprint(tmp_path):
    put(tmp_path, "a.png", text="one")
    first = source_of(tmp_path).fingerprint()
    assert source_of(tmp_path).fingerprint() == first
    (tmp_path / "a.txt").write_text("another")
    second = source_of(tmp_path).fingerprint()
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,a third\n")
    third = source_of(tmp_path).fingerprint()
    assert len({first, second, third}) == 3
    assert [one["text"].decode() for one in rows(source_of(tmp_path))] == ["a third"], "a table goes before files"


def beside(folder):
    put(folder, "a.png", text="one")
    put(folder, "z.png")


def not_a_text(folder):
    put(folder, "a.png")
    (folder / "a.txt").write_bytes(b"\xff\xfe\xfa")


def listed(table):
    def write(folder):
        put(folder, "a.png")
        (folder / "metadata.csv").write_text(table)
    return write


@pytest.mark.parametrize(("write", "settings", "message"), [
    (lambda folder: None, {}, "has no files; give a folder of images"),
    (lambda folder: (folder / "x.md").write_text(""), {}, "1 files and none of them is an image"),
    (lambda folder: put(folder / "test", "a.png"), {}, "has test but no train folder"),
    (beside, {}, "1 of 2 images have no text, the first .*z.png; write it into z.txt beside it"),
    (not_a_text, {}, "a.txt is not a text in UTF-8"),
    (listed("file_name,caption\na.png,one\n"), {}, "has no column text; it has file_name, caption. Name the one of"),
    (listed("image,text\na.png,one\n"), {}, "has no column file_name; it has image, text. Call the one of the images"),
    (listed("file_name,text\na.png,one\nq.png,two\n"), {}, "tells of .*q.png, which is not there"),
    (listed("file_name,text\n,one\n"), {}, "row 1 has no file_name"),
    (listed("file_name,caption\na.png,\n"), {"text": "caption"}, "1 of 1 images have no text")])
def test_what_cannot_be_learnt_from_is_said(tmp_path, write, settings, message):
    write(tmp_path)
    with pytest.raises(UserError, match=message):
        source = source_of(tmp_path, **settings)
        source.parts()
        source.fields()
        rows(source)


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UserError, match="nowhere is not there; give a folder of images"):
        source_of(tmp_path / "nowhere").parts()
