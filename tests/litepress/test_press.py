"""`litepress.press`: models and arrays in memory become the files that the command takes."""
import functools
import json
from pathlib import Path

import keras
import numpy as np
import pandas
import pytest
import tf_keras

import litepress
from export.frameworks import torch_programs
from litepress import in_memory
from pipelines.tools.data_option import source_of
from pipelines.tools.press import PressSettings, recipe_for
from pipelines.tools.written_option import listed, text_of

IMAGES, LABELS = (np.arange(6 * 64) % 256).astype("uint8").reshape(6, 8, 8), np.arange(6) % 2


class Twice(keras.layers.Layer):
    """A layer that only this file knows."""

    def call(self, inputs):
        return 2 * inputs


@pytest.fixture
def litepress_command(litepress):
    return litepress


def message(function, *arguments) -> str:
    with pytest.raises(litepress.UserError) as caught:
        function(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(("data", "names", "train"), [
    ((IMAGES, LABELS), {"x", "y"}, 6), (IMAGES, {"x"}, 6),
    (((IMAGES[:4], LABELS[:4]), (IMAGES[4:], LABELS[4:])), {"x_train", "y_train", "x_test", "y_test"}, 4),
    ({"images": IMAGES, "labels": ["a", "b"] * 3}, {"images", "labels"}, 6)])
def test_arrays_are_a_file_of_the_names_that_press_knows(data, names, train, tmp_path):
    path = in_memory.data_file(data, tmp_path / "given")
    assert set(np.load(path)) == names
    source = source_of(path)
    assert source.size("train") == train and source.fields()["image"].shape == (8, 8, 1)
    written = Path(path).stat().st_mtime_ns
    assert in_memory.data_file(data, tmp_path / "given") == path and Path(path).stat().st_mtime_ns == written
    assert in_memory.data_file(IMAGES + 1, tmp_path / "given") != path


def test_paths_names_and_data_frames(tmp_path):
    assert in_memory.data_file("digits", tmp_path) == "digits"
    assert in_memory.data_file(tmp_path / "images", tmp_path) == str(tmp_path / "images")
    frame = pandas.DataFrame({"age": [0.1, 1 / 3], "target": ["a", "b"]})
    assert pandas.read_csv(in_memory.data_file(frame, tmp_path), float_precision="round_trip").equals(frame)


@pytest.mark.parametrize(("data", "expected"), [
    ([IMAGES, LABELS], "press: the data are a list; give images, (x, y), ((x_train, y_train), (x_test, y_test)), a "),
    ((IMAGES, 3), "press: y of the data is int 3; give an array of numbers or words, with an entry for each"),
    ({"x": np.array([object()])}, "press: x of the data is ndarray array([<object"),
    ((IMAGES, [[1], [1, 2]]), "press: y of the data is not an array: ")])
def test_other_data_are_refused(data, expected, tmp_path):
    assert message(in_memory.data_file, data, tmp_path).startswith(expected)


def network(library, *, own: bool):
    """A network of 2 classes of images 8 x 8, with a layer that its library does not know if it has an own."""
    layers, Layer = library.layers, functools.partial(Twice if library is keras else library.layers.ReLU, name="two")
    library.utils.set_random_seed(0)
    inputs = library.Input((8, 8, 1), name="pixels")
    hidden = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    return library.Model(inputs, layers.Dense(2, name="logits")(Layer()(hidden) if own else hidden), name="My-Model")


def test_a_keras_model_is_a_file_named_after_what_it_holds(tmp_path):
    model = network(keras, own=False)
    first, again = (in_memory.model_file(model, tmp_path / "given") for _ in range(2))
    assert first == again and first.name == "my-model" and first.path.suffix == ".keras"
    model.set_weights([1 + value for value in model.get_weights()])
    other = in_memory.model_file(model, tmp_path / "given")
    assert other.path != first.path and set((tmp_path / "given").iterdir()) == {first.path, other.path}
    assert recipe_for(PressSettings(first.path, in_memory.data_file((IMAGES, LABELS), tmp_path), tmp_path)
                      ).model.settings["path"] == str(first.path)


def test_a_model_with_a_layer_of_its_own_is_exported_as_a_graph(tmp_path):
    model = network(keras, own=True)
    given = in_memory.model_file(model, tmp_path)
    assert given.path.is_dir() and (given.path / "saved_model.pb").exists() and given.name == "my-model"
    answers = litepress.predictor(given.path).predict(IMAGES[..., None].astype("float32"))
    expected = model.predict(IMAGES[..., None].astype("float32"), verbose=0)
    assert np.abs(next(iter(answers.values())) - expected).max() < 1e-5


def test_a_model_of_tf_keras_is_a_file_of_keras_2(tmp_path):
    given = in_memory.model_file(network(tf_keras, own=False), tmp_path)
    assert given.path.suffix == ".h5" and in_memory.why_unreadable(given.path) == ""


def test_what_is_not_a_model_with_weights_is_refused(tmp_path):
    assert in_memory.model_file("model.tflite", tmp_path) == (Path("model.tflite"), None)
    assert message(in_memory.model_file, print, tmp_path).startswith(
        "press: the model is a builtins.builtin_function_or_method; give a Keras model, or the path of a .keras")
    empty = keras.Sequential([keras.layers.Dense(2)], name="empty")
    assert message(in_memory.model_file, empty, tmp_path).startswith("press: the model empty has no weights yet")
    assert message(litepress.press, None, IMAGES) == (
        "press: give one model: a file or folder, or --torch or --jax with the function that makes it")
    press = functools.partial(litepress.press, runs=tmp_path, quiet=True)
    assert message(press, tmp_path / "none.keras", IMAGES).startswith("press: ")
    assert "press: the model is a builtins.int; give" in message(press, 7, IMAGES)
    assert message(press, "none.keras", [IMAGES]).startswith("press: the data are a list; give images")


def test_arguments_are_refused_in_the_commands_sentences(tmp_path, monkeypatch, litepress_command):
    monkeypatch.chdir(tmp_path)
    press = functools.partial(litepress.press, data=IMAGES, quiet=True)
    np.save("images.npy", IMAGES)
    for model, options in {
            "m.onnx": {"layout": "nchw"}, "m.keras": {"pixels": "0..2"}, None: {"torch": "nothing"},
            "m.tflite": {"jax": "nets:network"}}.items():
        written = [text for name, value in options.items() for text in (f"--{name}", value)]
        said = litepress_command("press", *filter(None, [model]), "--data", "images.npy", *written, "--no-track")
        assert said.code == 2 and said.err.strip() == message(functools.partial(press, model, **options))


FRAMEWORKS = {
    "jax": """
import numpy as np

def network():
    kernel = np.random.default_rng(0).normal(size=(192, 5)).astype("float32")
    return lambda images: images.reshape((-1, 192)) @ kernel
""",
    "torch": """
import torch

def network():
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 5))
"""}


@pytest.mark.slow
@pytest.mark.parametrize(("framework", "options"), [("jax", {}), ("torch", {"layout": "nhwc"})])
def test_models_of_other_frameworks_are_pressed_as_the_command_does(
        tmp_path, monkeypatch, litepress_command, framework, options):
    if framework == "jax":
        pytest.importorskip("jax")
    else:
        try:
            torch_programs.python()
        except ValueError as error:
            pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    Path(f"{framework}_nets.py").write_text(FRAMEWORKS[framework])
    images = np.random.default_rng(1).normal(size=(16, 8, 8, 3)).astype("float32")
    function = f"{framework}_nets:network"
    results = litepress.press(None, images, variants=["float32", "int8"], targets="litert", track=False, quiet=True,
                              **{framework: function}, **options)
    assert results.artifact("float32").metrics["largest"] < 1e-4
    assert f"{framework}={function!r}" in Path(results.folder, "run.json").read_text()
    np.save("images.npy", images)
    written = [text for name, value in options.items() for text in (f"--{name}", value)]
    said = litepress_command("press", f"--{framework}", function, "--data", "images.npy", *written, "--variants",
                             "float32,int8", "--no-track", "--json", "r.json")
    assert said.code == 0, said.out + said.err
    printed = {one["variant"]: one["metrics"] for one in json.loads(Path("r.json").read_text())["artifacts"]}
    assert printed == {one.variant: one.metrics for one in results.artifacts}


def test_entries_are_what_the_commands_lists_have():
    entries = ["float32", {"qat": 5}, {"auto": {"drop": 0.01}}]
    assert listed(text_of(entries), "--variants") == entries
    assert text_of("float32,int8") == "float32,int8" and text_of(None) is None


@pytest.mark.slow
def test_a_model_of_its_own_layers_is_pressed_with_gates(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    labels = np.arange(200) % 2
    bright = np.stack([np.arange(8) < 4, np.arange(8) >= 4])  # the half that is brighter, by class
    images = (generator.integers(0, 90, (200, 8, 8, 1)) + 150 * bright[labels][:, None, :, None]).astype("uint8")
    model = network(keras, own=True)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True), metrics=["accuracy"])
    model.fit(images, labels, epochs=20, verbose=0)
    results = litepress.press(model, (images, labels), variants=["float32", "int8"], targets="litert", name="own",
                              gates={"int8.drop": "<= 0.02"}, out="out", track=False)
    assert results.metrics["accuracy"] > 0.95 and [gate.name for gate in results.gates] == ["int8.drop"]
    assert {one.name for one in results.artifacts} == {"float32", "int8"} and Path("out/manifest.json").exists()
    with pytest.raises(litepress.GateError, match=r"gate int8\.bytes: \S+ misses the limit <= 10"):
        litepress.press(model, (images, labels), variants=["float32", "int8"], targets="litert", name="own",
                        gates={"int8.bytes": "<= 10"}, track=False)
    with pytest.raises(litepress.UserError, match=r"press .*: gates\.int8\.dorp: no value of this run is called"):
        litepress.press(model, (images, labels), variants=["int8"], gates={"int8.dorp": "<= 1"}, track=False)
