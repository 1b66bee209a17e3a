"""Models that are asked from Python: of a run, a bundle, its zip file, a file; here and behind a server."""
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest

import litepress
from export.delivery import samples
from export.predictors import open_predictor

RUN = Path("runs/tiny/latest")
BUNDLE = RUN / "package" / "bundle"


@pytest.fixture
def golden(work):
    """The golden samples of the small recipe's bundle."""
    return samples.read(BUNDLE / "samples")


@pytest.mark.parametrize("model", ["run", "results", "bundle", "zip", "file"])
def test_every_way_to_a_model_gives_what_was_recorded(model, golden):
    path = {"run": RUN, "results": None, "bundle": BUNDLE, "zip": next((RUN / "package").glob("*.zip")),
            "file": RUN / "export/litert/int8.tflite"}[model]
    name = None if model == "file" else "int8"
    opened = litepress.predictor(litepress.results(RUN) if path is None else path, name)
    expected = golden.expected["int8"]["logits"]
    for inputs in (golden.inputs, golden.inputs["image"]):
        assert np.abs(opened.predict(inputs)["logits"] - expected).max() < 1e-4
    assert "takes    image (batch, 8, 8, 3) uint8" in repr(opened) and "<td>gives</td>" in opened._repr_html_()


def test_a_run_gives_the_model_that_is_recommended_for_cpus(work):
    results = litepress.results(RUN)
    chosen = litepress.predictor(results).path.stem
    assert any(f"litert {chosen} " in line and "phones' CPUs" in line for line in results.table().splitlines())
    assert litepress.predictor(BUNDLE).path.stem == chosen


def test_keras_saved_models_and_the_server_agree(golden):
    images = golden.inputs["image"]
    expected = golden.expected["keras"]["logits"]
    scores = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    keras = litepress.predictor(RUN / "train" / "model.keras").predict(images)
    saved = litepress.predictor(RUN, "saved_model")
    assert np.abs(keras["logits"] - expected).max() < 1e-4
    assert np.abs(saved.predict(images)["scores"] - scores).max() < 1e-5
    with litepress.serve(RUN) as server:
        assert np.abs(server.predict({"image": images})["scores"] - scores).max() < 1e-5
        assert server.predict(images).keys() == saved.predict(images).keys()
        with urllib.request.urlopen(server.url) as answer:
            assert b"AVAILABLE" in answer.read()
        with pytest.raises(litepress.UserError, match=r"serve: tiny: there is no signature none; there are"):
            server.predict(images, "none")
        assert server.url.endswith("/v1/models/tiny") and server.grpc in repr(server)
    server.stop()
    assert repr(server) == "Server of tiny: stopped"
    with pytest.raises(litepress.UserError, match="the server of tiny is stopped"):
        server.predict(images)


def test_a_server_takes_flags_and_says_what_is_wrong_with_them(work):
    with pytest.raises(litepress.UserError, match=r"serve: unknown argument: --rest_port=1\. Did you mean"):
        litepress.serve(RUN, rest_port=1)
    with pytest.raises(litepress.UserError, match="there is no such folder"):
        litepress.serve("nowhere")


def test_what_cannot_be_asked_is_said_in_a_line(work, tmp_path):
    def message(*arguments) -> str:
        with pytest.raises(litepress.UserError) as caught:
            litepress.predictor(*arguments)
        return str(caught.value)

    assert message("nowhere.tflite").startswith("nowhere.tflite: there is no such file or folder.")
    assert message("nowhere.zip") == "nowhere.zip: there is no such file"
    assert message(RUN, "int4").endswith("it has no artifact int4; there are float32, float16, dynamic, int8, "
                                         "saved_model")
    assert "it has no model int4; there are" in message(BUNDLE, "int4")
    assert "is one model; leave the name int8 out" in message(RUN / "export/litert/int8.tflite", "int8")
    assert "is not a model that can be run" in message("recipe.yaml")
    with zipfile.ZipFile("other.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    assert message("other.zip") == "other.zip: it holds no bundle, which has a file manifest.json"
    Path("broken.zip").write_bytes(b"PK")
    assert message("broken.zip").startswith("broken.zip: it cannot be unpacked (File is not a zip file)")
    opened = litepress.predictor(RUN, "int8")
    with pytest.raises(litepress.UserError, match=r"the input image is \(batch, 4\); it must be \(batch, 8, 8, 3\)"):
        opened.predict(np.zeros((2, 4)))
    with pytest.raises(litepress.UserError, match="there is no signature other; there are"):
        opened.predict(np.zeros((2, 8, 8, 3)), "other")


def test_one_array_is_not_enough_for_a_model_of_several_inputs(tmp_path):
    import keras

    inputs = [keras.Input((2,), name="first"), keras.Input((2,), name="second")]
    keras.Model(inputs, keras.layers.Add(name="sum")(inputs)).save(tmp_path / "both.keras")
    opened = litepress.predictor(tmp_path / "both.keras")
    with pytest.raises(litepress.UserError, match="it takes first, second; give a mapping of these names to arrays"):
        opened.predict(np.ones((3, 2)))
    answers = opened.predict({"first": np.ones((3, 2)), "second": np.full((3, 2), 2.0)})
    assert answers["sum"].tolist() == [[3, 3]] * 3
    assert answers.keys() == open_predictor(tmp_path / "both.keras").predict(
        {"first": np.ones((3, 2)), "second": np.ones((3, 2))}).keys()
