"""`litepress press` and `litepress explain`: somebody else's model and data, from the command line."""
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tf_keras

from pipelines.errors import UserError
from pipelines.ingest import Source
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.tasks.image_classification import ImageClassification
from pipelines.tools.press import PressSettings, recipe_for

CLASSES = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a Keras 2 .h5 of pixels 0..1 that tells where a bright spot is, and data for it in each form."""
    folder = tmp_path_factory.mktemp("press")
    generator = np.random.default_rng(0)
    labels = np.arange(400) % CLASSES
    images = generator.integers(0, 60, (400, 12, 12, 1)).astype("uint8")
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[6 * row:6 * row + 6, 6 * column:6 * column + 6] += np.uint8(150)
    np.savez(folder / "data.npz", x_train=images[:320], y_train=labels[:320], x_test=images[320:], y_test=labels[320:])
    np.save(folder / "plain.npy", images[320:])
    (folder / "flat").mkdir()
    for number in range(40):
        PIL.Image.fromarray(images[number, :, :, 0]).save(folder / "flat" / f"{number}.png")
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    model = tf_keras.Sequential([layers.InputLayer((12, 12, 1)), layers.Conv2D(8, 3, 2, activation="relu"),
                                 layers.DepthwiseConv2D(3, padding="same"), layers.BatchNormalization(momentum=0.5),
                                 layers.ReLU(6.0),
                                 layers.Flatten(), layers.Dense(CLASSES, activation="softmax")])
    model.compile(tf_keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(images[:320] / 255.0, labels[:320], batch_size=32, epochs=6, verbose=0)
    model.save(folder / "spots.h5")
    return folder


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


@pytest.mark.slow
def test_a_keras_2_file_learns_with_its_rounding(here, litepress):
    message = litepress("press", "spots.h5", "--data", "data.npz", "--pixels", "0..1", "--variants", "{qat: 1}",
                        "--targets", "litert", "--json", "qat.json", "--no-track")
    assert message.code == 0, message.out + message.err
    one, = json.loads(Path("qat.json").read_text())["artifacts"]
    assert one["variant"] == "qat" and one["integer"] and abs(one["drop"]["accuracy"]) <= 0.05


def test_a_gate_of_the_command_is_a_name_and_a_limit(here, litepress):
    message = litepress("press", "spots.h5", "--data", "data.npz", "--gate", "int8.drop", "--no-track")
    assert message.code == 2 and message.err.strip() == '--gate int8.drop: write it as "int8.drop <= 0.005"'
    message = litepress("press", "spots.h5", "--data", "data.npz", "--gate", "int8.dorp <= 1", "--no-track")
    assert message.code == 2 and "gates.int8.dorp: no value of this run is called int8.dorp" in message.err


def test_a_keras_2_file_is_pressed_into_a_bundle(here, litepress):
    message = litepress("press", "spots.h5", "--data", "data.npz", "--pixels", "0..1", "--variants", "float32,int8",
                        "--out", "out", "--json", "r.json", "--no-track")
    assert message.code == 0, message.out + message.err
    result = json.loads(Path("r.json").read_text())
    of = {one["variant"]: one for one in result["artifacts"] if one["target"] == "litert"}
    assert result["reference"]["metrics"]["accuracy"] > 0.95
    assert set(of) == {"float32", "int8"} and all(abs(one["drop"]["accuracy"]) <= 0.05 for one in of.values())
    assert of["float32"]["max_error"] < 1e-3
    names = {path.name for path in Path("out").iterdir()}
    assert {"MODEL_CARD.md", "SHA256SUMS", "labels.txt", "litert", "model.json", "report.html", "results.json",
            "samples"} <= names
    assert json.loads((here / "out" / "results.json").read_text())["artifacts"] == result["artifacts"]
    assert "Pressed from `spots.h5`" in Path("out/MODEL_CARD.md").read_text()
    again = litepress("press", "spots.h5", "--data", "data.npz", "--out", "out", "--no-track")
    assert again.code == 2 and "--out out: already exists" in again.err


@pytest.mark.slow
def test_a_pressed_file_is_explained_layer_by_layer(here, litepress):
    message = litepress("press", "spots.h5", "--data", "data.npz", "--pixels", "0..1", "--variants", "float32,int8",
                        "--targets", "litert", "--json", "explain.json", "--no-track")
    assert message.code == 0, message.out + message.err
    of = {one["variant"]: one for one in json.loads(Path("explain.json").read_text())["artifacts"]}
    explained = litepress("explain", Path(of["int8"]["path"]), "--reference", "spots.h5", "--pixels", "0..1", "--data",
                          "data.npz",
                          "--figure", "errors.png")
    assert explained.code == 0, explained.err
    assert "DEPTHWISE_CONV_2D" in explained.out and "SQNR dB" in explained.out
    assert PIL.Image.open("errors.png").width > 500
    itself = litepress("explain", Path(of["float32"]["path"]), "--reference", "spots.h5", "--pixels", "0..1", "--data",
                       "data.npz")
    assert itself.code == 2 and "integer operators" in itself.err


def test_pixels_that_the_model_does_not_want_are_noticed(here, litepress):
    message = litepress("press", "spots.h5", "--data", "data.npz", "--no-track")
    assert message.code == 2
    assert "the model seems to have learnt on pixels 0..1, not 0..255" in message.err and "--pixels" in message.err


@pytest.mark.slow
@pytest.mark.parametrize("data", ["plain.npy", "flat"])
def test_images_without_labels_are_measured_by_agreement(here, litepress, data):
    message = litepress("press", "spots.h5", "--data", data, "--pixels", "0..1", "--variants", "int8", "--targets",
                     "litert", "--no-track",
                     "--json", "agreement.json")
    assert message.code == 0, message.out + message.err
    assert "has no labels: accuracy is the share of images on which a file answers as spots.h5 does" in message.out
    result = json.loads(Path("agreement.json").read_text())
    assert result["reference"]["metrics"]["accuracy"] == 1.0
    refused = litepress("press", "spots.h5", "--data", data, "--pixels", "0..1", "--variants", "qat", "--no-track")
    assert refused.code == 2 and "no labels to learn from" in refused.err


WORDS = np.array(["d", "a", "c", "b"])


def saved(form, images, labels):
    """Write images with labels in one of their forms, and return how `--data` names them."""
    if form == "words.csv":
        for number, image in enumerate(images):
            PIL.Image.fromarray(image[..., 0]).save(f"{number:03}.webp", lossless=True)
        rows = [f"{number:03}.webp,{WORDS[label]}" for number, label in enumerate(labels)]
        Path(form).write_text("\n".join(["image,class", *rows]))
    else:
        written = {"words.npz": WORDS[labels], "one_hot.npz": np.eye(CLASSES)[labels], "from_1.npz": labels + 1}
        np.savez(form, images=images, labels=written[form])
    return form


@pytest.mark.parametrize(("form", "names"), [
    ("words.csv", list("abcd")), ("words.npz", list("abcd")), ("one_hot.npz", list("0123")),
    ("from_1.npz", list("1234"))])
def test_labels_come_in_several_forms(place, tmp_path, monkeypatch, form, names):
    monkeypatch.chdir(tmp_path)
    with np.load(place / "data.npz") as arrays:
        images, labels = arrays["x_train"][:40], arrays["y_train"][:40]
    settings = PressSettings(model=place / "spots.h5", data=saved(form, images, labels), scratch=tmp_path / "scratch")
    recipe = recipe_for(settings)
    recipe.data.source.prepare()
    index = build_index(recipe.data, recipe.task, 1)
    assert index.names("label") == names and index.unreadable == []
    _, targets = Data(recipe.data, recipe.task, index, 1).arrays("train", 100)
    expected = labels[index.splits["train"].positions]
    expected = [names.index(WORDS[label]) for label in expected] if form.startswith("words") else expected
    np.testing.assert_array_equal(targets["label"], expected)


@pytest.mark.slow
def test_a_table_of_images_is_pressed_and_a_missing_one_is_named(place, tmp_path, monkeypatch, litepress):
    monkeypatch.chdir(tmp_path)
    with np.load(place / "data.npz") as arrays:
        data = saved("words.csv", arrays["x_train"][:40], arrays["y_train"][:40])
    message = litepress("press", place / "spots.h5", "--data", data, "--pixels", "0..1", "--variants", "float32",
                        "--targets", "litert", "--json", "r.json", "--no-track")
    assert message.code == 0, message.out + message.err
    assert "28 train / 4 validation / 8 test, 4 classes, 0 unreadable" in message.out
    Path("007.webp").unlink()
    missing = litepress("press", place / "spots.h5", "--data", data, "--pixels", "0..1", "--no-track")
    assert missing.code == 2 and "1 file is not there, the first in row 8: 007.webp" in missing.err


def write(name, content):
    Path(name).write_bytes(content)
    return name


@pytest.mark.parametrize(("arguments", "expected"), [
    (lambda: ("nothere.keras", "--data", "data.npz"), "there is no model nothere.keras"),
    (lambda: (write("broken.h5", b"\x89HDF\r\n\x1a\nnothing"), "--data", "data.npz"), "broken.h5 is a damaged .h5 "
                                                                                      "file"),
    (lambda: (write("broken.tflite", b"\x18\0\0\0TFL3" + bytes(99)), "--data", "data.npz"),
     "broken.tflite: a damaged TFLite file"),
    (lambda: ("spots.h5", "--data", "nowhere.npz"), "there is no file nowhere.npz"),
    (lambda: ("spots.h5", "--data", "digitz"), "--data digitz: there is no such folder or file, and no source is "
                                               "called so"),
    (lambda: ("spots.h5", "--data", "data.npz", "--variants", "int9"), "there is no variant called int9. Did you mean "
                                                                       "int8?"),
    (lambda: ("spots.h5", "--data", "data.npz", "--variants", "{"), "give names with commas between"),
    (lambda: ("spots.h5", "--data", "digits", "--pixels", "0..1"), "has 4 classes, but the data have 10"),
    (lambda: ("spots.h5", "--data", "data.npz", "--out", "no/such/place"), "--out no/such/place: there is no folder "
                                                                           "no/such"),
])
def test_what_cannot_be_pressed_is_said_in_a_line(here, litepress, arguments, expected):
    message = litepress("press", *arguments(), "--no-track")
    assert message.code == 2
    assert expected in message.err
    assert len(message.err.strip().splitlines()) == 1


def arrays(**content):
    def save(folder):
        np.savez(folder / "a.npz", **content)
        return folder / "a.npz"

    return save


IMAGES = np.arange(10 * 4 * 4).reshape(10, 4, 4).astype("uint8")


@pytest.mark.parametrize(("save", "expected"), [
    (arrays(x=IMAGES / 255.0, y=np.arange(10)), r"holds values from 0 to 0\.6\d*; give raw pixels"),
    (arrays(x=IMAGES.astype("int64") - 5, y=np.arange(10)), "holds values from -5"),
    (arrays(x=IMAGES[:0], y=np.arange(0)), "is empty"),
    (arrays(x=IMAGES[0], y=np.arange(4)), r"has the shape \(4, 4\)"),
    (arrays(x=IMAGES[..., None].repeat(5, axis=3), y=np.arange(10)), r"has the shape \(10, 4, 4, 5\)"),
    (arrays(x=IMAGES, y=np.arange(7)), "10 images of the train part and 7 labels"),
    (arrays(x=IMAGES, y=np.arange(10) + 0.5), "one word or whole number per image"),
    (arrays(photos=IMAGES), "has no images; it has photos. Call them"),
    (lambda folder: Path(write(str(folder / "a.npz"), b"PK\x03\x04")), "not a NumPy file")])
def test_arrays_that_cannot_serve_are_refused(save, expected, tmp_path):
    task = ImageClassification()
    section = DataSection.model_validate({"source": {"arrays": str(save(tmp_path))},
                                          "image": {"size": 4, "channels": 1}})
    section.fill(task.features)
    with pytest.raises(UserError, match=expected):
        build_index(section, task, 1)


def test_labels_may_be_one_hot_and_classes_may_have_names(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.eye(5)[np.arange(10) % 5])
    source = Source.read({"arrays": {"path": str(tmp_path / "a.npz"), "class_names": list("abcde")}})
    assert source.fields()["label"].names == list("abcde")
    labels = [int(example["label"]) for example in source.examples("train").as_numpy_iterator()]
    assert labels == [0, 1, 2, 3, 4] * 2


def test_a_file_that_holds_code_is_taken_as_a_graph_where_that_is_allowed(here, litepress):
    """Its Lambda runs in a process of its own, once; what needs Keras is refused in a line."""
    loaded = tf_keras.models.load_model("spots.h5")
    inputs = tf_keras.Input((12, 12, 1))
    scaled = tf_keras.layers.Lambda(eval("lambda x: (open('ran.txt', 'a').write('x'), x / 255.0)[1]"))(inputs)
    tf_keras.Model(inputs, loaded(scaled)).save("code.h5")
    Path("ran.txt").unlink(missing_ok=True)
    refused = litepress("press", "code.h5", "--data", "data.npz", "--no-track")
    assert refused.code == 2 and "code.h5 holds Python code in the Lambda layer" in refused.err
    assert "--allow-code" in refused.err and len(refused.err.strip().splitlines()) == 1
    assert not Path("ran.txt").exists()

    taken = litepress("press", "code.h5", "--data", "data.npz", "--no-track", "--allow-code", "--variants", "int8",
                      "--json", "code.json")
    assert taken.code == 0, taken.out + taken.err
    assert Path("ran.txt").exists()
    result = json.loads(Path("code.json").read_text())
    assert result["reference"]["metrics"]["accuracy"] > 0.95
    assert [one["variant"] for one in result["artifacts"]] == ["int8"]
    trained = litepress("press", "code.h5", "--data", "data.npz", "--no-track", "--allow-code", "--variants", "qat")
    assert trained.code != 0 and len(trained.err.strip().splitlines()) == 1 and "Keras model" in trained.err
