"""A run by class on small digits: every file, the pictures of a seed, and a server that makes the same."""
import json

import numpy as np
import PIL.Image
import pytest

from export.predictors import open_predictor
from export.writing import noise
from tests.conftest import run_here

RECIPE = """\
name: {name}
task: {{image_generation: {{judge: {judge}, by: class{how}}}}}
data:
  source: digits
  image: {{size: 8, channels: 1}}
  noise: {{size: {noise}}}
  batch: 64
model: {model}
train: {{epochs: {epochs}, optimizer: adam, schedule: {{cosine: {{peak: 0.003}}}}, callbacks: [{{samples: 4}}]}}
compress: {{variants: {variants}}}
export: {{targets: [litert, saved_model]}}
verify: {{runs: 20}}
gates: {gates}
"""


@pytest.fixture(scope="module")
def folder(tiny_run, tmp_path_factory):
    """A working folder in which a small autoencoder was run."""
    folder = tmp_path_factory.mktemp("generation")
    judge = (tiny_run / "runs/tiny/latest").resolve()
    (folder / "recipe.yaml").write_text(RECIPE.format(
        name="small", judge=judge, how="", noise=6, model="{builder: vae}", epochs=20,
        variants="[float32, float16, dynamic, int8]", gates='{bits_per_dimension: "< gaussian_mixture"}'))
    said = run_here("run", "recipe.yaml", "--json", "results.json", cwd=folder)
    assert said.code == 0, said.out + said.err
    return folder


@pytest.mark.slow
def test_files_are_held_against_keras_and_measured_by_the_judge(folder):
    results = json.loads((folder / "results.json").read_text())
    artifacts = {one["variant"] if one["target"] == "litert" else one["target"]: one for one in results["artifacts"]}
    assert set(artifacts) == {"float32", "float16", "dynamic", "int8", "saved_model"}
    assert artifacts["float32"]["max_error"] <= 255 * 1e-4
    assert set(artifacts["saved_model"]["served"]) == {"grpc", "rest"}
    assert set(results["reference"]["baselines"]) == {"training_images", "factorized_pixels", "gaussian_mixture"}
    known = results["reference"]["metrics"]
    assert results["reference"]["baselines"]["training_images"]["fid_classifier"] < known["fid_classifier"]
    assert 0 < known["bits_per_dimension"] < 8 and known["class_accuracy"] > 0.3
    float32, int8 = (artifacts[name]["metrics"] for name in ("float32", "int8"))
    assert float32["psnr_to_keras"] > 60 and float32["same_class"] == 1
    assert 15 < int8["psnr_to_keras"] < 60 and 0.5 < int8["same_class"] <= 1


@pytest.mark.slow
def test_pictures_of_the_same_noise_are_in_the_run_the_report_and_mlflow(folder):
    run = (folder / "runs/small/latest").resolve()
    assert len(list((run / "train/samples").iterdir())) == 20
    assert "Pictures of the same noise" in (run / "report.html").read_text()
    assert "PSNR to Keras (dB)" in (run / "report.html").read_text()
    sent = list((folder / "runs/mlartifacts").rglob("samples/epoch_0020.png"))
    assert [path.read_bytes() for path in sent] == [(run / "train/samples/epoch_0020.png").read_bytes()]
    assert list((folder / "runs/mlartifacts").rglob("pictures_by_epoch.png"))


@pytest.mark.slow
def test_a_seed_makes_the_same_pictures_whatever_the_file(folder):
    for out, seed in (("one", 7), ("again", 7), ("other", 8)):
        said = run_here("sample", "runs/small/latest", "--seed", seed, "--count", 5, "--out", out, cwd=folder)
        assert said.code == 0 and f"5 pictures of seed {seed}" in said.out, said.err
    names = sorted(path.name for path in (folder / "one").iterdir())
    assert names == ["0000.png", "0001.png", "0002.png", "0003.png", "0004.png", "grid.png"]
    assert all((folder / "one" / name).read_bytes() == (folder / "again" / name).read_bytes() for name in names)
    assert (folder / "one/grid.png").read_bytes() != (folder / "other/grid.png").read_bytes()
    note = json.loads(PIL.Image.open(folder / "one/0003.png").text["litepress"])
    assert note["seed"] == 7 and note["number"] == 3 and note["class"] == "3"
    assert len(note["recipe"]) == 64 and note["model"].startswith("float32.tflite sha256 ")
    said = run_here("sample", "runs/small/latest/train/model.keras", "--seed", 7, "--count", 5, "--out", "keras",
                    cwd=folder)
    assert said.code == 0, said.err
    assert np.abs(pictures(folder / "keras").astype(int) - pictures(folder / "one")).max() <= 1


def pictures(folder):
    return np.stack([np.asarray(PIL.Image.open(folder / f"{number:04}.png")) for number in range(5)])


@pytest.mark.slow
def test_a_server_makes_the_same_pictures_of_seeds(folder):
    run_here("sample", "runs/small/latest", "--seed", 7, "--count", 5, "--class", "4", "--out", "fours", cwd=folder)
    predictor = open_predictor(folder / "runs/small/latest/export/saved_model/1")
    answer = predictor.predict({"seed": np.array([7, 9]), "count": np.array([5, 2]), "label": np.array([4, -1])},
                               "sample")
    assert answer["images"].shape == (2, 5, 8, 8, 1)
    assert np.abs(answer["images"][0, ..., 0].astype(int) - pictures(folder / "fours")).max() <= 1
    assert answer["images"][1, 2:].max() == 0 and answer["png_bytes"][1, 2:].tolist() == [b"", b"", b""]
    for changed, message in (({"count": 0}, "count is 1 to 1024"), ({"seed": -1}, r"seed is 0 to 2 \*\* 63 - 1"),
                             ({"label": 10}, "label is below 10")):
        asked = {"seed": 7, "count": 1, "label": 4, **changed}
        with pytest.raises(Exception, match=message):
            predictor.predict({name: np.array([value]) for name, value in asked.items()}, "sample")


@pytest.mark.slow
def test_a_file_encodes_images_too(folder):
    folder = (folder / "runs/small/latest").resolve()
    keras, file = (open_predictor(folder / path) for path in ("train/model.keras", "export/litert/float32.tflite"))
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (3, 8, 8, 1)).astype("float32")
    said = keras.predict({"image": images, "noise": noise.normal((1, 0), (3, 6)),
                          "condition": np.eye(10, dtype="float32")[:3]})
    found = file.predict({"image": images}, "encode")
    np.testing.assert_allclose(found["mean"], said["mean"], atol=1e-4)
    np.testing.assert_allclose(found["log_variance"], said["log_variance"], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "message"), [
    (["runs/small/latest", "--class", "fourr"], "there is no class fourr; give one of 0, 1"),
    (["runs/small/latest", "--seed", "-3"], "--seed is -3"),
    (["runs/small/latest", "--text", "a four"], "makes pictures of no text; leave --text out"),
    (["runs/small/latest", "--negative", "a four"], "--negative is for models that were pressed"),
    (["runs/small/latest", "--image", "a.png"], "makes pictures without steps, and none of others; leave it out"),
    (["nowhere"], "nowhere")])
def test_what_cannot_be_made_is_said_in_a_line(folder, arguments, message):
    said = run_here("sample", *arguments, cwd=folder)
    assert said.code == 2 and message in said.err and said.err.count("\n") == 1, said.err


OTHERS = {
    "dcgan": ("", 8, "{builder: dcgan, width: 8, depth: 2}", "[float32, dynamic, int8]", "generated"),
    "stylegan2": ("", 8, "{builder: stylegan2, width: 8, most: 8, depth: 2, units: 8, layers: 2}",
                  "[float32, dynamic]", "generated"),
    "ddpm": (", diffusion: {sampled: 3, guidance: 2}", "image",
             "{builder: ddpm, width: 4, multipliers: [1, 2], units: 1, attention: [4], groups: 2}",
             "[float32, dynamic]", "denoised"),
    "vqvae": (", codes: true", 4, "{builder: vqvae, width: 8, codes: 16, size: 4, prior_width: 8}",
              "[float32, dynamic]", "vectors")}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_models_go_all_the_way(name, tiny_run, tmp_path):
    how, noise, model, variants, output = OTHERS[name]
    judge = (tiny_run / "runs/tiny/latest").resolve()
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(
        name=name, judge=judge, how=how, noise=noise, model=model, epochs=2, variants=variants, gates="{}"))
    said = run_here("run", "recipe.yaml", "--json", "results.json", cwd=tmp_path)
    assert said.code == 0, said.out + said.err
    results = json.loads((tmp_path / "results.json").read_text())
    artifacts = {one["variant"] if one["target"] == "litert" else one["target"]: one for one in results["artifacts"]}
    assert artifacts["float32"]["max_error"] <= 0.03 and artifacts["float32"]["agreement"] > 0.99
    assert set(artifacts["saved_model"]["served"]) == {"grpc", "rest"}
    assert (tmp_path / "runs" / name / "latest/train/pictures_by_epoch.png").exists()
    for metrics in (artifacts["float32"]["metrics"], artifacts["saved_model"]["metrics"],
                    artifacts["saved_model"]["served"]["grpc"]["metrics"]):
        assert metrics["psnr_to_keras"] > 40 and metrics["same_class"] >= 0.98
    folder = (tmp_path / "runs" / name / "latest").resolve()
    file = open_predictor(folder / "export/litert/float32.tflite")
    assert output in {tensor.name for tensor in file.signatures["serving_default"].outputs}
    for out, artifact in (("file", f"runs/{name}/latest"), ("served", f"runs/{name}/latest/export/saved_model/1")):
        said = run_here("sample", artifact, "--seed", 3, "--count", 5, "--out", out, cwd=tmp_path)
        assert said.code == 0, said.err
    assert np.abs(pictures(tmp_path / "file").astype(int) - pictures(tmp_path / "served")).max() <= 1
    if name == "vqvae":
        codes = {"codes": np.zeros((2, 4), np.int32), "condition": np.eye(10, dtype="float32")[:2]}
        exactly, kept = (open_predictor(folder / f"export/litert/{one}.tflite").predict(codes, "prior")["code_logits"]
                         for one in ("float32", "dynamic"))
        np.testing.assert_array_equal(exactly, kept)
        assert artifacts["dynamic"]["metrics"]["same_class"] >= 0.98
    if name == "ddpm":
        times = artifacts["float32"]["latency_ms"]
        assert times["calls"] == 2 * 3 and times["answered"] >= 6 * times["step_ms"] and times["memory_bytes"] > 8 * 8
        said = run_here("sample", f"runs/{name}/latest", "--seed", 3, "--count", 5, "--steps", 6, "--guidance", 1.5,
                        "--out", "other", cwd=tmp_path)
        assert said.code == 0, said.err
        served = open_predictor(folder / "export/saved_model/1").predict(
            {"seed": np.array([3, 3]), "count": np.array([5, 5]), "label": np.array([-1, -1]),
             "steps": np.array([6, 0]), "guidance": np.array([1.5, -1])}, "sample")["images"][..., 0].astype(int)
        assert np.abs(pictures(tmp_path / "other") - served[0]).max() <= 1
        assert np.abs(pictures(tmp_path / "file") - served[1]).max() <= 1
        assert np.abs(served[0] - served[1]).max() > 1
        revised_alike(tmp_path, folder)


def revised_alike(there, run):
    """Hold pictures of a picture against each other: those of the file, the trained model and the server."""
    PIL.Image.open(there / "file/0000.png").save(there / "image.png")
    PIL.Image.fromarray(np.repeat([[255, 0]], 4, axis=1).repeat(8, axis=0).astype(np.uint8)).save(there / "mask.png")
    image, mask = (np.asarray(PIL.Image.open(there / name)) for name in ("image.png", "mask.png"))
    for masked, strength in ((False, 0.6), (True, 1.0)):
        options = ["--image", "image.png", *(["--mask", "mask.png"] if masked else []), "--seed", 3, "--count", 5]
        for out, artifact in (("file", run / "export/litert/float32.tflite"), ("keras", run / "train/model.keras")):
            said = run_here("sample", artifact, *options, "--out", f"revised-{out}", cwd=there)
            assert said.code == 0, said.err
        file, keras = (pictures(there / f"revised-{out}").astype(int) for out in ("file", "keras"))
        full = np.full_like(mask, 255)
        served = open_predictor(run / "export/saved_model/1").predict(
            {"seed": np.array([3]), "count": np.array([5]), "label": np.array([-1]), "steps": np.array([0]),
             "guidance": np.array([-1]), "original": image[None, ..., None],
             "mask": (mask if masked else full)[None, ..., None], "strength": np.array([strength])}, "revise")["images"]
        assert np.abs(file - keras).max() <= 1 and np.abs(file - served[0, ..., 0]).max() <= 1
        assert np.abs(file - image).max() > 8
        assert not masked or (file[:, :, 4:] == image[:, 4:]).all()
    note = json.loads(PIL.Image.open(there / "revised-file/0000.png").text["litepress"])
    assert note["image"] == "image.png" and note["mask"] == "mask.png" and note["strength"] == 1
    said = run_here("sample", run, "--image", "image.png", "--strength", 2, cwd=there)
    assert said.code == 2 and "--strength is 2" in said.err and said.err.count("\n") == 1, said.err
