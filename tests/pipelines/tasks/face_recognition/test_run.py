"""Recipes of faces: those of the papers on a stand-in, and a small one from end to end."""
import json

import numpy as np
import PIL.Image
import pytest

from pipelines.ingest.sources import lfw_subset
from tests.conftest import ROOT, command, shared

RECIPES = ROOT / "recipes" / "faces"
SMALL = """
name: small_faces
seed: 7
task: {face_recognition: {most_pairs: 300, far: 0.1}}
data:
  source: {distorted_faces: {pictures_each: 4}}
  image: {size: 16, channels: 1}
  batch: 28
  per_class: 4
  test: 0.2
model: {builder: mobilefacenet, width: 0.125, size: 16, skip_halvings: 3, activation: relu6}
train:
  epochs: 3
  loss: {sum: [arcface, triplet]}
compress: {variants: [float32, int8, {qat: {epochs: 1, distill: {weight: 1.0}}}]}
export: {targets: [litert, saved_model]}
verify: {runs: 10}
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Write folders as CASIA-WebFace and Labeled Faces in the Wild lie, and go there."""
    generator = np.random.default_rng(0)

    def face(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(generator.integers(0, 256, (12, 12, 3)).astype("uint8")).save(path)

    for person in range(26):
        for number in range(20):
            face(tmp_path / "casia-webface" / f"{person:07}" / f"{number:03}.png")
    for name in ("Ann_Lee", "Ben_Poe", "Cy_Orr"):
        for number in (1, 2):
            face(tmp_path / "lfw" / name / f"{name}_{number:04}.png")
    (tmp_path / "pairs.txt").write_text("2 1\nAnn_Lee 1 2\nAnn_Lee 1 Ben_Poe 1\nCy_Orr 1 2\nCy_Orr 1 Ben_Poe 2\n")
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "builder", "weights", "size"), [
    ("lfw", "mobilefacenet", 1_022_720, 128), ("casia", "iresnet50", 43_628_480, 512)])
def test_a_papers_recipe_passes_its_check_on_a_stand_in(litepress, stand_in, name, builder, weights, size):
    said = litepress("check", RECIPES / f"{name}.yaml")
    assert said.code == 0, said.err
    # the head has a vector for each of the 29 people of both folders
    assert f"{builder}, {weights + 29 * size:,} weights" in said.out


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a folder in which the small recipe was run."""
    def make(folder):
        (folder / "recipe.yaml").write_text(SMALL)
        done = command("run", "recipe.yaml", "--json", "results.json", cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr

    return shared(tmp_path_factory, "small_faces", make)


@pytest.mark.slow
def test_every_file_is_measured_alike_and_served(run):
    results = json.loads((run / "results.json").read_text())
    reference = results["reference"]["metrics"]
    artifacts = {one["variant"] if one["target"] == "litert" else one["target"]: one for one in results["artifacts"]}
    assert set(artifacts) == {"float32", "int8", "qat", "saved_model"}
    assert artifacts["float32"]["metrics"] == pytest.approx(reference, abs=1e-3)
    assert artifacts["float32"]["max_error"] < 1e-5
    for served in artifacts["saved_model"]["served"].values():
        assert served["max_error"] <= 1e-4
    assert all(0 <= one["metrics"]["rank_1"] <= 1 for one in artifacts.values())
    listed = json.loads((run / "runs/small_faces/latest/package/bundle/model.json").read_text())["models"]
    assert {one["name"]: one["metrics"] for one in listed} == {
        name: one["metrics"] for name, one in artifacts.items()}, "an app reads its file's threshold here"


@pytest.mark.slow
def test_a_bundles_file_enrolls_and_identifies(run, tmp_path):
    pixels, labels, _ = lfw_subset.DistortedFaces(pictures_each=4).pictures()
    for person in (3, 50):
        (tmp_path / "people" / str(person)).mkdir(parents=True)
        for number, face in enumerate(pixels[labels == person]):
            PIL.Image.fromarray(face[..., 0]).save(tmp_path / "people" / str(person) / f"{number}.png")
    latest = run / "runs" / "small_faces" / "latest"
    for model in (latest, latest / "package" / "bundle"):
        said = command("enroll", model, "people", "--far", "0.1", cwd=tmp_path)
        assert said.returncode == 0 and "2 people" in said.stdout, said.stderr
        said = command("identify", model, "people/3/0.png", cwd=tmp_path)
        assert said.returncode == 0 and said.stdout.split()[1] in ("3", "50", "unknown"), said.stderr
    card = (latest / "package" / "bundle" / "MODEL_CARD.md").read_text()
    assert "person 3" not in card, "who was learnt from is nothing that it answers"
