"""Identities: held out whole, several of each in a batch, in pairs that a file lists, and in groups."""
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from pipelines.errors import UserError
from pipelines.ingest import Source
from pipelines.ingest.indexing import build_index
from pipelines.ingest.sources import lfw_subset
from pipelines.recipe.recipe import Recipe
from pipelines.tasks.face_recognition import FaceRecognition
from tests.pipelines.ingest.conftest import EIGHT, Pricing, data_of, index_of

NAMES = ["Ann", "Ben", "Cy", "Di", "Ed", "Flo"]
TASK = FaceRecognition()


def people(root, names=NAMES, count=4):
    """Write a folder as Labeled Faces in the Wild lies; the grey level says who it is."""
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(1, count + 1):
            image = np.full((10, 10), 30 * NAMES.index(name) + number, "uint8")
            PIL.Image.fromarray(image).save(root / name / f"{name}_{number:04}.png")
    return root


def faces_of(source, **settings):
    return data_of(source, TASK, **{"image": EIGHT, "test": 0.34, "validation": 0.25, **settings})


def test_nobody_is_in_two_splits(tmp_path):
    data = faces_of({"identity_folder": str(people(tmp_path / "faces"))})
    known = {part: {label for label, count in enumerate(counts["label"]) if count}
             for part, counts in data.index.counts.items()}
    assert {part: len(labels) for part, labels in known.items()} == {"train": 3, "validation": 1, "test": 2}
    assert not known["train"] & known["test"] and not known["train"] & known["validation"]
    assert known["train"] | known["validation"] | known["test"] == set(range(6))
    assert data.index.splits["test"].examples == 8
    other = faces_of({"identity_folder": str(tmp_path / "faces")}, seed=11).index
    assert other.counts["test"] != data.index.counts["test"], "the seed decides who"
    assert TASK.notes(data) == ["identities: 3 train, 1 validation, 2 test"]


def test_a_batch_has_several_of_each(tmp_path):
    data = faces_of({"identity_folder": str(people(tmp_path / "faces", count=12))}, batch=8, per_class=4)
    seen = []
    for inputs, targets in data.training(0, 2).as_numpy_iterator():
        labels = targets["label"].argmax(axis=1)
        assert all(len(set(labels[start:start + 4])) == 1 for start in (0, 4))
        np.testing.assert_array_equal(inputs["image"][:, 0, 0, 0] // 30, labels)
        seen.append(inputs["image"][:, 0, 0, 0])
    assert len(seen) == 2 * (36 // 8)
    first, second = np.concatenate(seen[:4]), np.concatenate(seen[4:])
    assert len(set(first)) == 32, "no example twice in an epoch"
    assert not np.array_equal(first, second)
    again = next(data.training(1, 2).as_numpy_iterator())[0]["image"][:, 0, 0, 0]
    np.testing.assert_array_equal(again, seen[4])


def test_several_of_a_class_want_classes(arrays):
    source = arrays(train_columns=np.zeros((20, 3)), train_price=np.zeros(20))
    with pytest.raises(UserError, match=r"data\.per_class: an example of .* has no class; leave it out"):
        data_of(source, Pricing(), per_class=2, batch=4).training(0, 1)


def listed_pairs(tmp_path, *lines):
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    return {"path": str(tmp_path / "faces"), "pairs": str(tmp_path / "pairs.txt")}


def test_pairs_of_a_file_are_tested_on_and_the_others_learnt_from(tmp_path):
    people(tmp_path / "faces")
    settings = listed_pairs(tmp_path, "2\t1", "Ann\t1\t3", "Ann\t1\tBen\t2", "Ben\t2\t4", "Ben\t1\tFlo\t4")
    data = faces_of({"identity_folder": settings})
    named = {part: {NAMES[label] for label, count in enumerate(counts["label"]) if count}
             for part, counts in data.index.counts.items()}
    assert named["test"] == {"Ann", "Ben", "Flo"} and named["train"] | named["validation"] == {"Cy", "Di", "Ed"}
    _, targets = data.arrays("test", 12)
    rows = targets["pairs"]
    assert rows.shape == (12, 2, 2) and rows.dtype == np.int32
    assert rows[0].tolist() == [[0, 0], [1, 0]], "Ann_0001 is in the first two pairs, both of fold 0"
    assert rows[4].tolist() == [[3, 1], [-1, -1]], "Ben_0001 is in the last one, of fold 1"
    measure = TASK.measure(data.index)
    measure.add(targets, {"embedding": np.eye(6, dtype="float32")[targets["label"]]})
    result = measure.result()
    assert result.remarks == ["2 pairs of one, 2 of two"]
    assert result.metrics["verification_accuracy"] == 1 and result.metrics["rank_1"] == 1


@pytest.mark.parametrize("head", ["12", "1 12"])
def test_pairs_without_folds_are_dealt_to_ten(tmp_path, head):
    people(tmp_path / "faces")
    lines = [head, *("Ann 1 2" if number % 2 else "Ann 1 Ben 1" for number in range(24))]
    source = Source.read({"identity_folder": listed_pairs(tmp_path, *lines)})
    rows = np.stack([example["pairs"] for example in source.examples("test").as_numpy_iterator()])
    assert rows[0, :, 1].tolist() == [number % 10 for number in range(24)]


def test_another_folder_is_tested_on_and_who_is_in_both_is_not_learnt_from(tmp_path):
    people(tmp_path / "faces", NAMES[:5])
    people(tmp_path / "tested", ["Ben", "Flo"])
    data = faces_of({"identity_folder": {"path": str(tmp_path / "faces"), "test": str(tmp_path / "tested")}})
    known = {part: {data.index.names("label")[label] for label, count in enumerate(counts["label"]) if count}
             for part, counts in data.index.counts.items()}
    assert known["test"] == {"Ben", "Flo"} and known["train"] | known["validation"] == {"Ann", "Cy", "Di", "Ed"}


@pytest.mark.parametrize(("lines", "message"), [
    (["Ann 1 9"], r"pairs\.txt line 1 names Ann/Ann_0009, which is not in .*faces"),
    (["2", "Ann 1 2", "Gus 1 2"], r"pairs\.txt line 3 names Gus/Gus_0001"),
    (["1", "Ann 1"], r"line 2 is no pair; write Name 1 4, or Name 1 Other 2"),
    (["Ann one two"], r"line 1 is no pair"), (["7"], "lists no pairs")])
def test_a_bad_pair_is_named(tmp_path, lines, message):
    people(tmp_path / "faces")
    with pytest.raises(UserError, match=message):
        Source.read({"identity_folder": listed_pairs(tmp_path, *lines)}).fingerprint()


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"identity_folder\.path: .*nowhere is not there; give a folder"):
        Source.read({"identity_folder": str(tmp_path / "nowhere")}).fingerprint()
    people(tmp_path / "faces")
    settings = {"path": str(tmp_path / "faces"), "pairs": str(tmp_path / "none.txt")}
    with pytest.raises(UserError, match=r"identity_folder\.pairs: there is no file .*none\.txt"):
        Source.read({"identity_folder": settings}).fingerprint()
    people(tmp_path / "one", ["Ann"])
    with pytest.raises(UserError, match="at least two; it has 1"):
        Source.read({"identity_folder": str(tmp_path / "one")}).fingerprint()


def test_one_picture_of_each_is_refused(tmp_path):
    index = faces_of({"identity_folder": str(people(tmp_path / "faces", count=1))}).index
    with pytest.raises(UserError, match="each of the 5 identities has one picture, and two of one are compared: add"):
        TASK.dimensions(index)


def test_a_test_split_of_one_identity_is_refused(tmp_path):
    index = faces_of({"identity_folder": str(people(tmp_path / "faces"))}, test=0.1).index
    with pytest.raises(UserError, match=r"the test split has 1 identities, .*: raise data\.test, or add pictures"):
        TASK.dimensions(index)


def test_groups_come_from_a_column_of_a_table(tmp_path):
    people(tmp_path / "faces")
    rows = [f"faces/{name}/{name}_{number:04}.png,{name},{'old' if name < 'D' else 'young'}"
            for name in NAMES for number in range(1, 5)]
    (tmp_path / "people.csv").write_text("\n".join(["file,label,age", *rows]) + "\n")
    data = faces_of({"image_table": {"path": str(tmp_path / "people.csv"), "group": "age"}})
    assert data.index.names("group") == ["old", "young"]
    _, targets = data.arrays("train", 12)
    np.testing.assert_array_equal(targets["group"], targets["label"] >= 3)
    measure = TASK.measure(data.index)
    assert measure.group == "group" and measure.groups == ["old", "young"]
    with pytest.raises(UserError, match=r"image_table\.group: .*people\.csv has no column sex"):
        index_of({"image_table": {"path": str(tmp_path / "people.csv"), "group": "sex"}}, TASK)


class NamedFaces(tfds.core.GeneratorBasedBuilder):
    """Images whose label is a name, as the set lfw has them."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict({
            "label": tfds.features.Text(), "image": tfds.features.Image(shape=(10, 10, 3))}))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(24):
            level = 40 * (number % 6)
            yield number, {"label": NAMES[number % 6], "image": np.full((10, 10, 3), level, "uint8")}


def test_names_of_a_tfds_set_are_classes(tmp_path):
    source = {"tfds": {"name": "named_faces", "data_dir": str(tmp_path)}}
    assert Source.read(source).fields()["label"].names == ["0", "1"], "it is not here yet"
    Source.read(source).prepare()
    data = faces_of(source)
    assert data.index.names("label") == NAMES
    inputs, targets = data.arrays("train", 12)
    np.testing.assert_array_equal(inputs["image"][:, 0, 0, 0] // 40, targets["label"])


def test_distorted_faces_are_the_same_photo_seen_otherwise():
    source = Source.read({"distorted_faces": {"pictures_each": 3}})
    examples = list(source.examples("train").as_numpy_iterator())
    assert len(examples) == source.size("train") == 300 and examples[4]["id"] == b"person 1 #1"
    images = np.stack([tf.io.decode_png(example["image"]).numpy() for example in examples]).reshape(100, 3, -1)
    assert images.shape[2] == 25 * 25 and [example["label"] for example in examples[:4]] == [0, 0, 0, 1]
    centred = images - images.mean(axis=2, keepdims=True)
    centred = centred / np.linalg.norm(centred, axis=2, keepdims=True)
    own = (centred[:, 0] * centred[:, 1]).sum(axis=1)
    others = (centred[:, 0] * np.roll(centred[:, 1], 1, axis=0)).sum(axis=1)
    assert 0.3 < own.mean() < 0.95 and others.mean() < own.mean() - 0.1
    again = next(source.examples("train", [7]).as_numpy_iterator())
    assert again == examples[7], "drawn by fixed seeds"


def test_faces_stand_beside_what_is_none():
    source = Source.read("face_or_not")
    examples = list(source.examples("train").as_numpy_iterator())
    assert source.fields()["label"].names == ["face", "no face"]
    assert [sum(example["label"] == number for example in examples) for number in (0, 1)] == [100, 100]
    np.testing.assert_array_equal(tf.io.decode_png(examples[0]["image"])[..., 0], lfw_subset.photos()[0])


def test_an_identity_in_two_splits_is_refused(tmp_path):
    people(tmp_path / "faces")
    rows = [f"faces/{name}/{name}_{number:04}.png,{name},{'test' if number > 2 else 'train'}"
            for name in NAMES for number in range(1, 5)]
    (tmp_path / "people.csv").write_text("\n".join(["file,label,split", *rows]) + "\n")
    index = faces_of({"image_table": str(tmp_path / "people.csv")}).index
    with pytest.raises(UserError, match=r"4 identities are in the splits train and test, among them Ann: who is "):
        TASK.dimensions(index)


def test_groups_that_could_be_in_two_identities_are_refused(tmp_path):
    people(tmp_path / "faces")
    rows = [f"faces/{name}/{name}_{number:04}.png,{name},{number}" for name in NAMES for number in range(1, 5)]
    (tmp_path / "people.csv").write_text("\n".join(["file,label,session", *rows]) + "\n")
    with pytest.raises(UserError, match="face_recognition holds whole classes out"):
        index_of({"image_table": str(tmp_path / "people.csv")}, TASK, group="session")


@pytest.mark.parametrize("kind", ["image_folder", "image_table"])
def test_given_splits_of_other_people_are_taken_and_not_of_other_classes(tmp_path, kind):
    """Ann to Cy are learnt, Di is validated on, Ed and Flo are tested on."""
    parts = {"train": NAMES[:3], "val": NAMES[3:4], "test": NAMES[4:]}
    lines = ["image,label,split"]
    for part, names in parts.items():
        people(tmp_path / "faces" / part, names)
        lines += [f"faces/{part}/{name}/{name}_{number:04}.png,{name},{part}"
                  for name in names for number in range(1, 5)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    written = {"name": "x", "task": "face_recognition", "model": {"builder": "mobilefacenet", "size": 16},
               "data": {"source": {kind: str(tmp_path / ("faces" if kind == "image_folder" else "t.csv"))},
                        "image": EIGHT}}
    recipe = Recipe.model_validate(written)
    recipe.data.source.fingerprint()
    index = build_index(recipe.data, recipe.task, seed=0)
    assert index.names("label") == NAMES
    assert {part: counts["label"] for part, counts in index.counts.items()} == {
        "train": [4, 4, 4, 0, 0, 0], "validation": [0, 0, 0, 4, 0, 0], "test": [0, 0, 0, 0, 4, 4]}
    assert recipe.task.dimensions(index) == {"input_shape": (8, 8, 1)}
    classes = Recipe.model_validate({**written, "task": "image_classification", "model": {"builder": "lenet5"}})
    with pytest.raises(UserError, match=r"classes that the training part lacks: Di|"
                                        r"has the label Di, which is none of the 3 classes of the training part"):
        build_index(classes.data, classes.task, seed=0)
    if kind == "image_folder":
        people(tmp_path / "faces" / "test", ["Ann"])
    else:
        (tmp_path / "t.csv").write_text("\n".join([*lines, "faces/test/Ed/Ed_0001.png,Ann,test"]).replace(
            "faces/test/Ed/Ed_0001.png,Ed,test\n", ""))
    with pytest.raises(UserError, match=r"data: 1 identities are in the splits train and test, among them Ann"):
        recipe.task.dimensions(build_index(recipe.data, recipe.task, seed=0))
