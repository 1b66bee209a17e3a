"""Sources of texts: folders by class, JSON Lines, CSV, and TensorFlow Datasets."""
import json

import pytest
import tensorflow_datasets as tfds

from pipelines.errors import UserError
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.ingest.sources.source import Source
from pipelines.tasks.text_classification import TextClassification

GOOD, BAD = "a good film", "a bad film, été"


def data_of(source, **settings):
    """Return a source's texts as the task sees them."""
    task = TextClassification()
    section = DataSection.model_validate({"source": source, "batch": 2, **settings})
    section.fill(task.data_settings)
    section.source.prepare()
    return Data(section, task, build_index(section, task, 0), 0)


def words(data, part="train"):
    """Return the texts of a split in their tokens, with their classes."""
    inputs, targets = data.arrays(part, data.index.splits[part].examples)
    learnt = data.index.learnt["tokens"]
    return [(data.features["tokens"].in_words(tokens, learnt), data.index.names("label")[label])
            for tokens, label in zip(inputs["tokens"], targets["label"], strict=True)]


@pytest.fixture
def folder(tmp_path):
    """Return a folder laid out as the large movie review set is."""
    for part in ("train", "test"):
        for name, text in (("pos", GOOD), ("neg", BAD), ("unsup", "what")):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(8 if part == "train" else 3):
                (tmp_path / part / name / f"{number}.txt").write_text(f"{text} {number}", encoding="utf-8")
    (tmp_path / "train" / "pos" / ".hidden.txt").write_text("x")
    (tmp_path / "train" / "pos" / "notes.md").write_text("x")
    return tmp_path


def test_folders_are_classes_and_files_are_texts(folder):
    data = data_of({"text_folder": {"path": str(folder), "classes": ["neg", "pos"]}})
    assert data.index.names("label") == ["neg", "pos"]
    assert sum(data.index.splits[part].examples for part in ("train", "validation")) == 16
    assert [label for _, label in words(data, "test")] == ["neg"] * 3 + ["pos"] * 3
    assert {text.rsplit(" ", 1)[0] for text, _ in words(data)} == {"a good film", "a bad film , été"}


def test_every_folder_is_a_class_where_none_are_named(folder):
    assert Source.read({"text_folder": str(folder)}).fields()["label"].names == ["neg", "pos", "unsup"]


@pytest.mark.parametrize(("change", "message"), [
    (lambda folder: {"classes": ["neg", "good"]}, "train has no folder good; it has neg, pos, unsup"),
    (lambda folder: {"path": str(folder / "train" / "pos")}, r"at least two. .txt files lie in it directly"),
    (lambda folder: {"path": str(folder / "nowhere")}, "nowhere is not there; give a folder with one folder of .txt")])
def test_folders_that_are_no_texts_are_refused(folder, change, message):
    with pytest.raises(UserError, match=message):
        data_of({"text_folder": {"path": str(folder), **change(folder)}})


def test_texts_of_a_folder_below_their_class_belong_together(folder):
    (folder / "train" / "pos" / "author").mkdir()
    (folder / "train" / "pos" / "author" / "9.txt").write_text(GOOD)
    source = Source.read({"text_folder": {"path": str(folder), "classes": ["pos", "neg"]}})
    names = [name.rsplit("/", 2)[1:] for name, _ in source.files("train")]
    assert names[:2] == [["pos", "0.txt"], ["pos", "1.txt"]] and names[8] == ["author", "9.txt"]
    groups = source.groups("train", "folder", range(len(names)))
    assert groups[8] == "author" and len(set(groups[:8])) == 8


def test_a_class_without_texts_is_named(folder):
    for path in (folder / "train" / "unsup").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"class unsup has no .txt files"):
        data_of({"text_folder": str(folder)})


def test_texts_that_cannot_be_read_are_counted(folder):
    (folder / "train" / "pos" / "0.txt").write_bytes(b"caf\xe9")
    (folder / "train" / "pos" / "1.txt").write_bytes(b"")
    data = data_of({"text_folder": str(folder)})
    assert {one.name.rsplit("/", 1)[1]: one.reason for one in data.index.unreadable} == {
        "0.txt": "is not UTF-8 (byte 3)", "1.txt": "has no text"}


def test_json_lines_are_rows(tmp_path):
    rows = [{"review": text, "mood": mood, "stars": 3, "tags": ["a"]} for text, mood in
            [(GOOD, "good"), (BAD, "bad")] * 8]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    source = Source.read({"json_lines": str(path)})
    assert {name: field.kind for name, field in source.fields().items()} == {
        "review": "text", "mood": "text", "stars": "number"}
    data = data_of({"json_lines": str(path)}, tokens={"field": "review"}, label={"field": "mood"})
    assert set(words(data)) == {("a good film", "good"), ("a bad film , été", "bad")}


@pytest.mark.parametrize(("content", "message"), [
    ("{\"text\": \"a\"\n", "is not a file of JSON Lines that can be read"), ("[1, 2]\n", "is not a file of JSON Lines"),
    ("", "is empty")])
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        Source.read({"json_lines": str(path)}).fields()


def test_a_column_that_is_missing_is_named(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("review,mood\nfine film,good\nbad film,bad\n")
    with pytest.raises(UserError, match=r"has no field text; it has review, mood. Name it in data.tokens.field"):
        data_of({"csv": str(path)}, label={"field": "mood"})


class Reviews(tfds.core.GeneratorBasedBuilder):
    """Texts of two classes, as imdb_reviews has them, and titles, as ag_news has."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features
        return tfds.core.DatasetInfo(builder=self, features=features.FeaturesDict({
            "text": features.Text(), "title": features.Text(), "label": features.ClassLabel(names=["neg", "pos"])}),
            supervised_keys=("text", "label"))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(12), "test": self._generate_examples(4)}

    def _generate_examples(self, count):
        for number in range(count):
            yield number, {"text": (BAD, GOOD)[number % 2], "title": f"film {number}", "label": number % 2}


def test_sets_of_tensorflow_datasets_are_texts_with_classes(tmp_path):
    source = {"tfds": {"name": "reviews", "data_dir": str(tmp_path)}}
    data = data_of(source, tokens={"length": 6})
    assert data.index.names("label") == ["neg", "pos"]
    assert set(words(data, "test")) == {("a good film", "pos"), ("a bad film , été", "neg")}
    titled = data_of(source, tokens={"length": 6, "field": "title"})
    assert {text for text, _ in words(titled)} <= {"film <UNKNOWN>"}
