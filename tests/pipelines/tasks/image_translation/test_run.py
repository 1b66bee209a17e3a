"""A run without pairs, on two folders of small images: what comes back is measured of every file and of the server."""
import json

import numpy as np
import PIL.Image
import pytest

from export.predictors import open_predictor
from tests.conftest import run_here

RECIPE = """\
name: folders
task: {image_translation: cycles}
data:
  source: {two_image_folders: {path: images, paired: false}}
  image: {size: 12, channels: 1}
  batch: 8
model: {builder: cyclegan, width: 2, residual_blocks: 1, discriminator_width: 2, discriminator_steps: 1}
train: {epochs: 2, optimizer: adam, schedule: {constant: 0.001}}
compress: {variants: [float32, dynamic]}
export: {targets: [litert, saved_model]}
verify: {runs: 10}
gates: {float32.cycle_error: "<= 255"}
"""


def small_images(folder, count, top):
    """Write images of 12 x 12 pixels that are bright above or below."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(count)
    for number in range(count):
        image = generator.integers(0, 60, (12, 12)).astype("uint8")
        image[slice(0, 6) if top else slice(6, 12)] += 150
        PIL.Image.fromarray(image).save(folder / f"{number}.png")


@pytest.mark.slow
def test_folders_without_pairs_go_all_the_way(tmp_path):
    for name, count, top in (("trainA", 40, True), ("trainB", 30, False), ("testA", 10, True), ("testB", 12, False)):
        small_images(tmp_path / "images" / name, count, top)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    said = run_here("run", "recipe.yaml", "--json", "results.json", cwd=tmp_path)
    assert said.code == 0, said.out + said.err
    results = json.loads((tmp_path / "results.json").read_text())
    artifacts = {one["variant"] if one["target"] == "litert" else one["target"]: one for one in results["artifacts"]}
    reference = results["reference"]["metrics"]
    assert set(reference) == {"cycle_error"} and 0 < reference["cycle_error"] < 255
    for one in ("float32", "saved_model"):
        assert artifacts[one]["metrics"]["cycle_error"] == pytest.approx(reference["cycle_error"], abs=1e-2)
    for served in artifacts["saved_model"]["served"].values():
        assert served["metrics"]["cycle_error"] == pytest.approx(reference["cycle_error"], abs=1e-2)
    assert set(artifacts["saved_model"]["served"]) == {"grpc", "rest"}
    folder = (tmp_path / "runs/folders/latest").resolve()
    image = np.random.default_rng(0).integers(0, 256, (1, 12, 12, 1)).astype(np.float32)
    trained = open_predictor(folder / "train/model.keras").predict({"image": image})
    file = open_predictor(folder / "export/litert/float32.tflite")
    back = file.predict({"target": file.predict({"image": image})["generated"]}, "back")["returned"]
    np.testing.assert_allclose(back, trained["cycled"], atol=0.05)
    served = open_predictor(folder / "export/saved_model/1").predict({"image": image.astype("uint8")})
    np.testing.assert_allclose(served["cycled"], trained["cycled"], atol=0.05)
