"""The commands beside `run`."""
import json
import time
from pathlib import Path

import pytest

import models
from pipelines.engine import runs
from tests.conftest import command


def test_predict_names_the_classes_of_pictures(work, litepress):
    samples = Path("runs/tiny/latest/package/bundle/samples")
    expected = json.loads((samples / "expected.json").read_text())
    files = [samples / one["file"] for one in expected]
    for model, name in (("runs/tiny/latest/export/litert/float32.tflite", "float32"), ("runs/tiny/latest/train/model.keras", "keras")):
        said = litepress("predict", model, *files)
        assert said.code == 0, said.err
        assert [line.split()[1] for line in said.out.splitlines()] == [one["expected"][name]["class"] for one in expected]
    assert litepress("predict", "runs/tiny/latest", files[0]).code == 0


def test_check_makes_every_variant_without_training_it(work, litepress):
    variants = "float32, int16x8, {qat: 9}, {pruned: 0.5}, {pruned: {name: both, clusters: 8, encode: qat}}, low_rank, auto"
    said = litepress("check", "recipe.yaml", "--set", "gates={}", "--set", f"compress.variants=[{variants}]")
    assert said.code == 0, said.err
    line = said.out.splitlines()[-1]
    assert [part.split()[-3] for part in line.split(" · ")] == ["float32", "int16x8", "qat", "pruned", "both", "low_rank", "auto"]
    said = litepress("check", "recipe.yaml", "--set", "gates={}", "--set", "compress.variants=[{qat: {keep_float: [conv2d_99]}}]")
    assert said.code == 2 and "the model has no layer conv2d_99" in said.err


def test_check_tries_everything_and_leaves_nothing(work, litepress):
    said = litepress("check", "recipe.yaml")
    assert said.code == 0, said.err
    assert [line.split()[0] for line in said.out.splitlines()] == ["recipe", "data", "model", "export"]
    assert "one training step, loss" in said.out and "int8" in said.out
    assert len(runs.all_runs(work / "runs")) == 1


def test_input_and_step_are_measured_apart(work, litepress):
    for _ in range(3):  # other work on the machine can fall on one of the measurements
        said = litepress("benchmark-input", "recipe.yaml", "--seconds", "0.5")
        assert said.code == 0, said.err
        rates = [float(line.split()[-2].replace(",", "")) for line in said.out.splitlines()[:3]]
        assert all(rate > 0 for rate in rates)
        if rates[2] <= 1.2 * min(rates[:2]):
            break
    assert rates[2] <= 1.2 * min(rates[:2]), "together they are no faster than the slower"
    slower = "input pipeline" if rates[0] < rates[1] else "training step"
    assert said.out.splitlines()[3].startswith(f"The {slower} is the bottleneck")


@pytest.mark.slow
def test_models_are_shown_at_their_papers_setting(litepress):
    said = litepress("models")
    assert said.code == 0, said.err
    row = next(line for line in said.out.splitlines() if " vgg16 " in line)
    assert "138,357,544" in row and "15,470" in row and "arxiv.org" in row
    assert len(said.out.splitlines()) == 1 + len(models.builders())


def test_report_is_written_anew(work, litepress):
    (work / "runs" / "tiny" / "latest" / "report.html").unlink()
    said = litepress("report", "runs/tiny/latest")
    assert said.code == 0 and Path(said.out.strip()).exists()


def test_doctor_tells_versions_devices_and_targets(litepress):
    said = litepress("doctor")
    assert said.code == 0
    for word in ("python", "tensorflow 2.", "CPU:0", "litert", "saved_model", "TFDS_DATA_DIR"):
        assert word in said.out


@pytest.mark.parametrize(("kind", "name"), [
    ("models", "resnet8"), ("sources", "image_folder"), ("variants", "int8"), ("targets", "saved_model")])
def test_lists_name_what_there_is(litepress, kind, name):
    assert any(line.startswith(f"{name} ") for line in litepress("list", kind).out.splitlines())


def test_help_answers_at_once(tmp_path):
    command("--help", cwd=tmp_path)
    best = min(_seconds(lambda: command("--help", cwd=tmp_path)) for _ in range(5))
    assert best < 0.3


def _seconds(action) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started
