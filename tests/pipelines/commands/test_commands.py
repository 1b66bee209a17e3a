"""The commands beside `run`."""
import json
import re
import shutil
import time
from pathlib import Path

import pytest
import typer

import models
from pipelines.commands.options import app
from pipelines.engine import runs
from tests.conftest import command


def test_predict_names_the_classes_of_images(work, litepress):
    samples = Path("runs/tiny/latest/package/bundle/samples")
    expected = json.loads((samples / "expected.json").read_text())
    files = [samples / one["file"] for one in expected]
    for model, name in (("runs/tiny/latest/export/litert/float32.tflite", "float32"),
                        ("runs/tiny/latest/train/model.keras", "keras")):
        message = litepress("predict", model, *files)
        assert message.code == 0, message.err
        assert [line.split()[1] for line in message.out.splitlines()] == [one["expected"][name]["class"]
                                                                       for one in expected]
    assert litepress("predict", "runs/tiny/latest", files[0]).code == 0


def test_a_model_without_a_run_is_taken_for_an_image_classifier(work, litepress, tmp_path):
    """Its class names are those of a labels.txt near it, and numbers where there is none."""
    bundle = Path("runs/tiny/latest/package/bundle")
    file = next((bundle / "samples").glob("*.png"))
    shutil.copy(bundle / "litert" / "float32.tflite", tmp_path / "model.tflite")
    first = litepress("predict", tmp_path / "model.tflite", file)
    assert first.code == 0, first.err
    number = int(first.out.split()[1])
    (tmp_path / "labels.txt").write_text("".join(f"digit-{name}\n" for name in range(10)))
    assert litepress("predict", tmp_path / "model.tflite", file).out.split()[1] == f"digit-{number}"


def test_a_check_tries_a_source_that_is_not_downloaded_on_random_examples(monkeypatch, recipe_file_of):
    from pipelines.ingest.sources.tfds_source import Digits
    from pipelines.recipe import file as recipe_file
    from pipelines.tools import check

    monkeypatch.setattr(Digits, "ready", lambda self: False)
    monkeypatch.setattr(Digits, "examples", lambda *arguments: pytest.fail("the source was read"))
    data, line = check.take_examples(recipe_file.read(recipe_file_of()).written())
    assert line == "10 classes, image 8 x 8 x 3; not downloaded yet, so the rest is tried on random examples"
    inputs, targets = data.arrays("train", 8)
    assert inputs["image"].shape == (8, 8, 8, 3) and targets["label"].tolist() == list(range(8))


@pytest.mark.slow
def test_check_makes_every_variant_without_training_it(work, litepress):
    both = "{pruned: {name: both, clusters: 8, encode: qat}}"
    variants = f"int16x8, {both}, auto"
    message = litepress("check", "recipe.yaml", "--set", "gates={}", "--set", f"compress.variants=[{variants}]")
    assert message.code == 0, message.err
    line = message.out.splitlines()[-1]
    assert [part.split()[-3] for part in line.split(" · ")] == ["int16x8", "both", "auto"]
    message = litepress("check", "recipe.yaml", "--set", "gates={}", "--set", "compress.variants=[{qat: {keep_float: "
                                                                           "[conv2d_99]}}]")
    assert message.code == 2 and "the model has no layer conv2d_99" in message.err


def test_check_tries_everything_and_leaves_nothing(work, litepress):
    message = litepress("check", "recipe.yaml")
    assert message.code == 0, message.err
    assert [line.split()[0] for line in message.out.splitlines()] == ["recipe", "data", "model", "export"]
    assert "one training step, loss" in message.out and "int8" in message.out
    assert len(runs.all_runs(work / "runs")) == 1


@pytest.mark.slow
def test_input_and_step_are_measured_apart(work, litepress):
    for _ in range(3):  # other work on the machine can fall on one of the measurements
        message = litepress("benchmark-input", "recipe.yaml", "--seconds", "0.5")
        assert message.code == 0, message.err
        rates = [float(line.split()[-2].replace(",", "")) for line in message.out.splitlines()[:3]]
        assert all(rate > 0 for rate in rates)
        if rates[2] <= 1.2 * min(rates[:2]):
            break
    assert rates[2] <= 1.2 * min(rates[:2]), "together they are no faster than the slower"
    slower = "input pipeline" if rates[0] < rates[1] else "training step"
    assert message.out.splitlines()[3].startswith(f"The {slower} is the bottleneck")


@pytest.mark.slow
def test_models_are_shown_at_their_papers_setting(litepress):
    message = litepress("models")
    assert message.code == 0, message.err
    row = next(line for line in message.out.splitlines() if " vgg16 " in line)
    assert "138,357,544" in row and "15,470" in row and "arxiv.org" in row
    assert len(message.out.splitlines()) == 1 + len(models.builders())


def test_report_is_written_again(work, litepress):
    (work / "runs" / "tiny" / "latest" / "report.html").unlink()
    message = litepress("report", "runs/tiny/latest")
    assert message.code == 0 and Path(message.out.strip()).exists()


def test_doctor_tells_versions_devices_and_targets(litepress):
    message = litepress("doctor")
    assert message.code == 0
    for word in ("python", "tensorflow 2.", "CPU:0", "litert", "saved_model", "TFDS_DATA_DIR"):
        assert word in message.out


@pytest.mark.parametrize(("kind", "name"), [
    ("models", "resnet8"), ("tasks", "image_classification"), ("features", "image"), ("sources", "image_folder"),
    ("variants", "int8"), ("targets", "saved_model")])
def test_lists_name_what_there_is(litepress, kind, name):
    assert any(line.startswith(f"{name} ") for line in litepress("list", kind).out.splitlines())


def test_help_lists_every_command_in_its_group(litepress):
    groups = re.findall(r"^(\w+):\n((?:  .*\n)+)", litepress("--help").out, re.MULTILINE)
    listed = {title: re.findall(r"^  (\S+)", lines, re.MULTILINE) for title, lines in groups}
    assert list(listed) == ["Options", "Train", "Press", "Ship", "Serve", "Look"]
    commands = [name for title, names in listed.items() if title != "Options" for name in names]
    assert sorted(commands) == sorted(typer.main.get_command(app).commands)
    assert "run" in listed["Train"] and "press" in listed["Press"] and "publish" in listed["Ship"]
    assert "deploy" in listed["Serve"] and "predict" in listed["Look"]


@pytest.mark.timed
def test_help_answers_at_once(tmp_path):
    command("--help", cwd=tmp_path)
    assert "2 a problem you can fix" in command("--help", cwd=tmp_path).stdout
    best = min(_seconds(lambda: command("--help", cwd=tmp_path)) for _ in range(5))
    assert best < 0.3


def _seconds(action) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started
