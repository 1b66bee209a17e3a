"""Scans from DICOM files to verified files: windows inside the model, neighbours as channels, patients apart."""
import json

import numpy as np
import PIL.Image
import pytest

from tests.conftest import run_here
from tests.pipelines.ingest.volume_files import balls, write_dicom, write_nifti

RECIPE = """\
name: scans
task: semantic_segmentation
data:
  source: {dicom: {path: scans, neighbours: 1}}
  image: {size: [32, 40], window: {level: 0, width: 2000}}
  mask: {names: [around, bright, dark]}
  augment: [flip, {color_jitter: 0.2}]
  batch: 8
model: {builder: unet, width: 4, depth: 2, batch_norm: true}
train: {epochs: 12, loss: {sum: [cross_entropy, dice]}, schedule: {cosine: 0.02}}
compress: {variants: [float32, int8]}
verify: {runs: 10}
gates: {mean_iou: ">= 0.6", float32.max_error: "<= 1e-4", int8.drop: "<= 0.05"}
"""


@pytest.mark.slow
def test_scans_end_as_verified_files(tmp_path):
    for patient in range(8):
        values, mask = balls((10, 32, 40), seed=patient)
        write_dicom(tmp_path / "scans" / "images" / f"p{patient}", values, patient=f"id{patient}")
        write_nifti(tmp_path / "scans" / "masks" / f"p{patient}.nii.gz", mask)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    checked = run_here("check", "recipe.yaml", cwd=tmp_path)
    assert "3 classes, image 32 x 40 x 3" in checked.out, checked.out + checked.err
    done = run_here("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    served = {one["target"]: one["served"] for one in json.loads((tmp_path / "r.json").read_text())["artifacts"]}
    assert set(served["saved_model"]) == {"grpc", "rest"}, "numbers go over both protocols"
    run = tmp_path / "runs" / "scans" / "latest"
    card = (run / "package" / "bundle" / "MODEL_CARD.md").read_text()
    assert all(text in card for text in ("not a medical device", "The splits are by patient",
                                         "stacks of 3 slices of 32 x 40 pixels", "-1000 is black, 1000 white"))
    files = {one["name"]: one for one in json.loads((run / "package" / "bundle" / "model.json").read_text())["models"]}
    (taken,) = files["int8"]["inputs"]
    assert (taken["dtype"], taken["shape"]) == ("float32", [1, 32, 40, 3]), "raw values go into integer files too"
    answers_of_series(tmp_path, run)


def answers_of_series(folder, run):
    """A series is answered slice by slice, and drawn."""
    said = run_here("predict", str(run), "scans/images/p0", "--out", "drawn", cwd=folder)
    lines = said.out.splitlines()
    assert said.code == 0 and len(lines) == 10 and lines[3].startswith("scans/images/p0 slice 3  around "), said.err
    mask = np.asarray(PIL.Image.open(folder / "drawn" / "p0 slice 3_mask.png"))
    truth = balls((10, 32, 40), seed=0)[1][3]
    assert mask.shape == (32, 40) and ((mask == 1) & (truth == 1)).sum() > 0.6 * (truth == 1).sum()
    alone = run_here("predict", str(run), "scans/images/p0/003.dcm", cwd=folder)
    assert alone.code == 0 and alone.out.startswith("scans/images/p0/003.dcm  around "), alone.out + alone.err
