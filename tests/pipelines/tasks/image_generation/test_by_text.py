"""A run by text on small digits: the autoencoder first, every file, the pictures of a seed, a server that makes the
same, and the driver of the bundle."""
import json
import subprocess
import sys
import zipfile

import numpy as np
import PIL.Image
import pytest

from export.predictors import open_predictor
from export.targets import web
from tests.conftest import run_here
from tests.export.targets.test_web_by_text import of_runtime

FIRST = """\
name: autoencoder
task: {{image_generation: {{judge: {judge}}}}}
data: {{source: digits, image: {{size: 8, channels: 1}}, noise: {{size: [2, 2, 3]}}, batch: 64}}
model: {{builder: autoencoder, width: 8}}
train: {{epochs: 3, loss: {{elbo: 0.1}}, optimizer: adam}}
compress: {{variants: [float32]}}
"""
THEN = """\
name: by_text
task: {{image_generation: {{judge: {judge}, by: text, diffusion: {{sampled: 3, guidance: 2, sampler: dpm_solver}}}}}}
data:
  source: {{captioned: {{of: digits, templates: ["a {{class}}", "the digit {{class}}"]}}}}
  image: {{size: 8, channels: 1}}
  noise: {{size: [2, 2, 3]}}
  tokens: {{length: 4}}
  batch: 64
model: {{builder: latent_diffusion, width: 8, groups: 4, heads: 2, text_units: 8, text_depth: 1, autoencoder_width: 8,
        weights: {{autoencoder: first.yaml}}}}
train: {{epochs: 2, optimizer: adam, callbacks: [{{ema: 0.9}}]}}
compress: {{variants: [float32, dynamic, int8]}}
export: {{targets: [litert, saved_model, {{web: [float32]}}]}}
verify: {{runs: 20}}
"""


@pytest.fixture(scope="module")
def folder(tiny_run, tmp_path_factory):
    """A working folder in which a small model by text was run."""
    folder = tmp_path_factory.mktemp("by_text")
    judge = (tiny_run / "runs/tiny/latest").resolve()
    for name, text in (("first", FIRST), ("then", THEN)):
        text = text.format(judge=judge)
        (folder / f"{name}.yaml").write_text(text if web.missing() == "" else text.replace(", {web: [float32]}", ""))
    said = run_here("run", "then.yaml", "--json", "results.json", cwd=folder)
    assert said.code == 0, said.out + said.err
    assert "first     first.yaml" in said.out, "the autoencoder is trained first"
    return folder


def pictures(folder, count=5):
    return np.stack([np.asarray(PIL.Image.open(folder / f"{number:04}.png")) for number in range(count)]).astype(int)


def sampled(folder, artifact, out, *arguments):
    said = run_here("sample", artifact, "--seed", 7, "--count", 5, "--out", out, *arguments, cwd=folder)
    assert said.code == 0, said.err
    return pictures(folder / out)


@pytest.mark.slow
def test_files_are_held_against_keras_and_judged_by_the_class_of_the_text(folder):
    results = json.loads((folder / "results.json").read_text())
    artifacts = {one["variant"] if one["target"] == "litert" else one["target"]: one for one in results["artifacts"]}
    assert set(artifacts) == {"float32", "dynamic", "int8", "saved_model"}
    assert artifacts["float32"]["max_error"] <= 1e-4 and set(artifacts["saved_model"]["served"]) == {"grpc", "rest"}
    assert 0 <= results["reference"]["metrics"]["class_accuracy"] <= 1
    file = open_predictor((folder / "runs/by_text/latest").resolve() / "export/litert/float32.tflite")
    assert {name: {one.name for one in known.inputs} for name, known in file.signatures.items()} == {
        "serving_default": {"noise", "step", "tokens"}, "encode_text": {"tokens"},
        "denoise": {"noise", "step", "condition"}, "decode": {"noise"}}


@pytest.mark.slow
def test_a_text_makes_the_same_pictures_whatever_the_file(folder):
    run = "runs/by_text/latest"
    made = sampled(folder, run, "file", "--text", "a three")
    np.testing.assert_array_equal(sampled(folder, run, "again", "--text", "a three"), made)
    assert np.abs(sampled(folder, f"{run}/train/model.keras", "keras", "--text", "a three") - made).max() <= 1
    assert np.abs(sampled(folder, f"{run}/export/saved_model/1", "served", "--text", "a three") - made).max() <= 1
    assert (sampled(folder, run, "other", "--text", "the digit four") != made).any()
    nothing = sampled(folder, run, "nothing")
    assert (nothing != made).any()
    note = json.loads(PIL.Image.open(folder / "file/0003.png").text["litepress"])
    assert note["text"] == "a three" and note["seed"] == 7 and "class" not in note
    predictor = open_predictor((folder / run).resolve() / "export/saved_model/1")
    answer = predictor.predict({"seed": np.array([7, 7, 7]), "count": np.array([5, 5, 2]), "steps": np.array([0, 0, 6]),
                                "text": np.array([b"a three", b"", b"a three"], object),
                                "guidance": np.array([-1, -1, 1.5])}, "sample")["images"][..., 0].astype(int)
    assert np.abs(answer[0] - made).max() <= 1 and np.abs(answer[1] - nothing).max() <= 1
    other = sampled(folder, run, "steps", "--text", "a three", "--steps", 6, "--guidance", 1.5)
    assert np.abs(answer[2, :2] - other[:2]).max() <= 1 and (other != made).any()


@pytest.mark.slow
def test_the_driver_of_the_bundle_makes_them_too(folder, tmp_path):
    run = (folder / "runs/by_text/latest").resolve()
    with zipfile.ZipFile(next((run / "package").glob("*.zip"))) as bundle:
        bundle.extractall(tmp_path)
    driver = next(tmp_path.rglob("draw.py"))
    made = sampled(folder, "runs/by_text/latest", "beside", "--text", "a three")

    def draw(*arguments):
        return subprocess.run([sys.executable, driver, "--seed", "7", "--count", "5", "--model", "float32", "--out",
                               tmp_path / "drawn", *arguments], capture_output=True, text=True)

    done = draw("--text", "a three")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(pictures(tmp_path / "drawn"), made)
    assert draw().returncode == 0
    np.testing.assert_array_equal(pictures(tmp_path / "drawn"), sampled(folder, "runs/by_text/latest", "none"))
    done = draw("--text", "rhubarb")
    assert done.returncode == 2 and "has learnt no word of 'rhubarb'; it knows" in done.stderr
    for language, ending in (("kotlin", "kt"), ("swift", "swift")):
        beside = {path.name for path in (driver.parents[1] / language).iterdir()}
        assert beside >= {f"{name}.{ending}" for name in ("ByTextPictures", "Noise", "Sampler", "Tokenizer")}


@pytest.mark.slow
@pytest.mark.skipif(web.missing() != "", reason="LiteRT's web runtime cannot be fetched")
def test_the_page_makes_them_too(folder, tmp_path):
    made = sampled(folder, "runs/by_text/latest", "paged", "--text", "a three")
    asked = [(number, "a three") for number in range(len(made))]
    page = of_runtime((folder / "runs/by_text/latest").resolve() / "export/web", "float32.tflite", asked, tmp_path)
    assert np.abs(page.reshape(made.shape) - made).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "message"), [
    (["runs/by_text/latest", "--text", " "], "--text is empty; say what the pictures show"),
    (["runs/by_text/latest", "--text", "rhubarb"], "the model has learnt no word of 'rhubarb'; it knows"),
    (["runs/by_text/latest", "--class", "3"], "makes pictures of no class that could be asked for; give --text")])
def test_what_cannot_be_made_is_said_in_a_line(folder, arguments, message):
    said = run_here("sample", *arguments, cwd=folder)
    assert said.code == 2 and message in said.err and said.err.count("\n") == 1, said.err
