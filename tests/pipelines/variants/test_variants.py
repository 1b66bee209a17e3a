"""Variants as recipes ask for them: each keeps its promise in the file that ships, and one that fails does not stop the
others."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from export.tflite import file as tflite_file
from pipelines.errors import UserError
from pipelines.recipe import file as recipe_file
from pipelines.variants.chosen import _balanced
from pipelines.variants.record import VariantList, VariantRecord, zipped_size
from pipelines.variants.variant import Variant
from tests.conftest import TINY, digests, run_here

EVERY = """[float32,
  {int8: {name: tuned, per_channel: false, ranges: mse, equalize: true, correct_bias: true,
          calibration: {examples: 100, balanced: true}}},
  {int8: {name: half, keep_float: [2, 3], io: float}}, int8_weights, int4_weights,
  {qat: {epochs: 1, distill: {weight: 0.5}}},
  {pruned: {sparsity: 0.6, epochs: 1, clusters: 16, encode: qat}},
  {low_rank: {keep: 0.6, epochs: 1}},
  {auto: {drop: 0.5, rungs: [int8, float16]}}]"""


@pytest.mark.parametrize(("written", "expected"), [
    ("int9", "there is no variant called int9. Did you mean int8?"),
    ("{qat: {epoch: 3}}",
     "compress.variants.0.qat.epoch is not a setting. Did you mean compress.variants.0.qat.epochs?"),
    ("{qat: 0}", "compress.variants.0.epochs is 0; it must be at least 1"),
    ('{pruned: {pattern: "2:4", sparsity: 0.8}}', "two of every four weights are a sparsity of 0.5, not 0.8"),
    ("{pruned: 1.5}", "compress.variants.0.sparsity is 1.5; it must be less than 1"),
    ("{auto: {rungs: [int9]}}", "allowed: 'int8', 'calibration', 'selective', 'qat', 'qat_distilled' or 'float16'"),
    ("{int8: {ends: float}}", "compress.variants.0.int8.ends is not a setting."),
    ("{int8: {ranges: best}}", "allowed: 'min_max' or 'mse'"),
    ("int8, int8", "two variants are called int8; give one of them another name, for instance {int8: {name: int8_2}}")])
def test_a_mistake_in_a_variant_is_named(written, expected, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(TINY.replace("verify:", f"compress: {{variants: [{written}]}}\nverify:"))
    with pytest.raises(UserError) as caught:
        recipe_file.read(path)
    assert expected in str(caught.value)


@pytest.mark.parametrize("name", sorted(Variant.choices))
def test_what_is_written_of_a_variant_is_read_again(name):
    variant = Variant.read(name)
    assert Variant.read(variant.written()) == variant
    assert variant.title == name and variant.summary


def test_a_gate_may_ask_for_a_variant_by_its_name(tmp_path):
    path = tmp_path / "recipe.yaml"
    text = TINY.replace("verify:", "compress: {variants: [{int8: {name: mine}}]}\nverify:")
    path.write_text(text.replace("int8.drop", "mine.drop"))
    assert recipe_file.read(path).gates["mine.drop"]


def test_a_balanced_draw_has_as_many_of_each_class():
    labels = np.array([0] * 50 + [1] * 5 + [2] * 30)
    chosen = labels[_balanced(labels, 3, 30, np.random.default_rng(0))]
    assert np.bincount(chosen).tolist() == [13, 5, 12] or np.bincount(chosen).tolist() == [12, 5, 13]
    assert np.bincount(labels[_balanced(labels, 3, 12, np.random.default_rng(0))]).tolist() == [4, 4, 4]


@pytest.fixture(scope="module")
def every(tiny_run, tmp_path_factory):
    """The small recipe's model in many variants: the folder it ran in."""
    folder = tmp_path_factory.mktemp("every") / "work"
    shutil.copytree(tiny_run, folder, symlinks=True)
    done = run_here("run", "recipe.yaml", "--no-track", "--json", "every.json", "--set", f"compress.variants={EVERY}",
                    "--set", "export.targets=[litert]", "--set", "gates={}", cwd=folder)
    assert done.code == 0, done.out + done.err
    return folder


def variants(compressed: Path) -> list[VariantRecord]:
    """Return what a run's compress stage made."""
    return VariantList.model_validate_json((compressed / "compress.json").read_bytes()).variants


@pytest.mark.slow
def test_every_variant_ships_and_answers(every):
    artifacts = json.loads((every / "every.json").read_text())["artifacts"]
    of = {one["variant"]: one for one in artifacts if one["target"] == "litert"}
    assert set(of) == {"float32", "tuned", "half", "int8_weights", "int4_weights", "qat", "pruned", "low_rank",
                       "auto"}
    assert all(one["metrics"]["accuracy"] > 0.5 for one in of.values())
    accurate = ("tuned", "half", "int8_weights", "qat", "auto")
    assert all(of[name]["drop"]["accuracy"] < 0.05 for name in accurate)
    assert of["int4_weights"]["bytes"] < of["int8_weights"]["bytes"] < of["float32"]["bytes"]
    assert of["pruned"]["zipped"] < 0.7 * of["qat"]["zipped"]


@pytest.mark.slow
def test_files_are_what_their_variants_say(every):
    folder = every / "runs" / "tiny" / "latest" / "export" / "litert"
    contents = {path.stem: path.read_bytes() for path in folder.glob("*.tflite")}
    for name in ("tuned", "qat", "pruned", "low_rank", "auto"):
        assert not tflite_file.float_tensors(contents[name]), name
    assert tflite_file.float_tensors(contents["half"])
    compressed = every / "runs" / "tiny" / "latest" / "compress"
    records = {record.name: record for record in variants(compressed)}
    details = {name: record.details for name, record in records.items()}
    assert details["pruned"]["sparsity"] == pytest.approx(0.6, abs=0.01)
    assert details["pruned"]["different_weights"] <= 17
    assert details["low_rank"]["weights"]["after"] < details["low_rank"]["weights"]["before"]
    assert details["tuned"]["calibration"] == 100 and len(details["tuned"]["calibration_digest"]) == 64
    assert [trial["rung"] for trial in details["auto"]["rungs"]] == ["int8"] and details["auto"]["limit"] == 0.5
    assert records["float32"].zipped == zipped_size((compressed / "float32.tflite").read_bytes())
    assert not list(compressed.glob(".part*"))


@pytest.mark.slow
def test_the_report_shows_operators_and_trials(every):
    page = (every / "runs" / "tiny" / "latest" / "report.html").read_text()
    for text in ("qat: operator by operator", "auto: what was tried", "SQNR dB", "passed: taken",
                 "What each step of auto costs"):
        assert text in page, text


@pytest.mark.slow
def test_a_clustered_network_has_so_many_different_weights(work):
    done = run_here("run", "recipe.yaml", "--no-track", "--json", "r.json", "--set", "gates={}", "--set",
                    "compress.variants=[int8, {clustered: {epochs: 1}}]", "--set", "export.targets=[litert]", cwd=work)
    assert done.code == 0, done.out + done.err
    of = {one["variant"]: one for one in json.loads(Path("r.json").read_text())["artifacts"]}
    assert of["clustered"]["drop"]["accuracy"] < 0.05 and of["clustered"]["zipped"] < 0.9 * of["int8"]["zipped"]
    records = {record.name: record for record in variants(work / "runs" / "tiny" / "latest" / "compress")}
    assert records["clustered"].details["different_weights"] == 16
    assert not tflite_file.float_tensors((work / of["clustered"]["path"]).read_bytes())


def write_recurrent(folder: Path) -> None:
    """Write a GRU of more steps than are written out, whose calibration crashes the converter, as rnn.keras,
    and examples for it as data.npz."""
    import keras

    layers = keras.layers
    model = keras.Sequential([keras.Input((20, 20, 1)), layers.Reshape((400, 1)), layers.GRU(4, name="gru"),
                              layers.Dense(3)])
    model.save(folder / "rnn.keras")
    images = np.random.default_rng(0).integers(0, 256, (100, 20, 20)).astype("uint8")
    np.savez(folder / "data.npz", x=images, y=np.arange(100) % 3)


def test_a_conversion_that_crashes_is_named_and_the_others_ship(tmp_path, litepress, monkeypatch):
    """Calibrating a GRU kills the converter's process: a crash of the real thing."""
    write_recurrent(tmp_path)
    monkeypatch.chdir(tmp_path)
    message = litepress("press", "rnn.keras", "--data", "data.npz", "--variants", "float32,int8", "--targets",
                        "litert,{qualcomm: SM8650}", "--no-track", "--json", "r.json", "--out", "bundle")
    assert message.code == 3
    assert "  bundle  bundle; not in it: int8, qualcomm" in message.out
    assert {path.name for path in Path("bundle/litert").iterdir()} == {"float32.tflite"}
    file = tflite_file.read(Path("bundle/litert/float32.tflite").read_bytes())
    assert list(file.subgraphs[0].tensors[file.subgraphs[0].inputs[0]].shape) == [1, 20, 20, 1], "as the model takes it"
    assert "takes RGB" not in message.out
    assert ("compress int8: crashed (segmentation fault), on layer types Dense, GRU, InputLayer, Reshape: TensorFlow "
            "makes no integer form of the loop that stays of gru (GRU): it is a GRU, for which TFLite has no operator; "
            "use float32, float16, dynamic or int8_weights, or sequences of a known length of at most 256 steps"
            ) in message.err
    results = json.loads(Path("r.json").read_text())
    assert [one["variant"] for one in results["artifacts"]] == ["float32"]
    assert list(results["failed"]) == ["int8"] and results["bundle"]


@pytest.mark.slow
def test_a_gate_on_a_variant_that_could_not_be_made_is_missed(work, litepress):
    """low_rank with a network that is only calibrated: here the variant asks for an operator that is not there."""
    message = litepress("run", "recipe.yaml", "--no-track", "--set",
                     "compress.variants=[float32, {int8: {keep_float: [99]}}]")
    assert message.code == 1
    assert "gate int8.drop: not made misses the limit <= 0.02" in message.err
    assert "FAILED: int8" in message.out


def test_a_missed_drop_names_the_worst_operators(work, litepress):
    message = litepress("run", "recipe.yaml", "--no-track", "--set", "gates.int8.drop=<= -0.5")
    assert message.code == 1
    assert "misses the limit <= -0.5. The three worst operators: " in message.err
    assert "Try variants: [auto]" in message.err


@pytest.mark.slow
def test_the_search_goes_on_until_a_candidate_passes(work, litepress):
    """A limit that no integer form can pass: every step is tried, and float16, the last, is taken."""
    auto = "{auto: {drop: 0, rungs: [calibration, selective, qat, float16], learning: {epochs: 1, rate: 1.0e-9}}}"
    message = litepress("run", "recipe.yaml", "--no-track", "--until", "compress", "--set", "gates={}", "--set",
                     f"compress.variants=[{auto}]")
    assert message.code == 0, message.err
    trials = variants(Path("runs/tiny/latest/compress"))[0].details["rungs"]
    assert all(not trial["passed"] for trial in trials[:-1])
    assert trials[-1]["passed"] or trials[-1]["rung"] == "float16"
    assert all(trial["bytes"] > 0 for trial in trials)


@pytest.mark.slow
def test_a_killed_training_with_rounding_ends_with_the_same_bytes(work, tmp_path):
    litepress = str(Path(sys.executable).with_name("litepress"))
    arguments = [litepress, "run", "recipe.yaml", "--no-track", "--until", "compress", "--set", "gates={}", "--set",
                 "compress.variants=[{qat: {epochs: 6, distill: {}}}]"]
    shutil.copytree(work, tmp_path / "whole", symlinks=True)
    assert subprocess.run(arguments, cwd=tmp_path / "whole", stdout=subprocess.DEVNULL).returncode == 0
    process = subprocess.Popen(arguments, cwd=work, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 300
    while not list(work.glob("runs/.store/.work/compress-*/variants/qat/qat/checkpoint.npz")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert subprocess.run(arguments, cwd=work, stdout=subprocess.DEVNULL).returncode == 0
    assert digests(work)["compress"] == digests(tmp_path / "whole")["compress"]
    events = map(json.loads, (work / "runs/tiny/latest/compress/journal.jsonl").read_text().splitlines())
    assert any(event["event"] == "note" and "going on after epoch" in event["text"] for event in events)


def test_a_gate_on_the_drop_is_where_the_search_ends(tmp_path):
    path = tmp_path / "recipe.yaml"
    written = "[auto, {auto: {name: other, drop: 0.03}}, {auto: {name: third}}, float32]"
    text = TINY.replace("verify:", f"compress: {{variants: {written}}}\nverify:")
    path.write_text(text.replace("int8.drop:", "auto.drop:"))
    recipe = recipe_file.read(path)
    assert [recipe.limit_of(variant) for variant in recipe.compress.variants] == [0.02, 0.03, 0.005, None]
    assert recipe.compress.variants[0].drop is None, "the variant stays as it was written"


@pytest.mark.slow
def test_a_step_that_crashes_is_passed_over(tmp_path, litepress, monkeypatch):
    """The converter dies of calibrating a GRU; the search ends at float16 all the same."""
    write_recurrent(tmp_path)
    monkeypatch.chdir(tmp_path)
    message = litepress("press", "rnn.keras", "--data", "data.npz", "--variants",
                     "{auto: {rungs: [int8, float16], drop: 0.9}}", "--targets", "litert", "--no-track",
                     "--json", "r.json")
    assert message.code == 0, message.err
    record = variants(Path("runs/rnn/latest/compress"))[0]
    assert "auto, int8: crashed (segmentation fault)" in record.details["skipped"]["int8"]
    assert [trial["rung"] for trial in record.details["rungs"]] == ["float16"] and record.encoding == "float16"


@pytest.mark.slow
def test_a_student_learns_from_a_teacher_that_is_trained_first(work, litepress):
    Path("student.yaml").write_text(TINY.replace("name: tiny", "name: student").replace("width: 8", "width: 4").replace(
        "epochs: 4", "epochs: 2\n  distill: {teacher: recipe.yaml, weight: 0.9}").split("gates:")[0])
    message = litepress("run", "student.yaml", "--no-track", "--until", "evaluate")
    assert message.code == 0, message.err
    assert "teacher   recipe.yaml" in message.out and "cached" in message.out.split("student   student.yaml")[0]
    Path("student.yaml").write_text(Path("student.yaml").read_text().replace("recipe.yaml", "nobody.keras"))
    message = litepress("run", "student.yaml", "--no-track", "--until", "train")
    assert message.code == 2 and "train.distill.teacher: there is no file nobody.keras" in message.err


def test_a_teacher_of_other_images_is_refused(work, litepress, tmp_path):
    import keras

    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs))).save("teacher.keras")
    message = litepress("run", "recipe.yaml", "--no-track", "--until", "train", "--set",
                     "train.distill.teacher=teacher.keras")
    assert message.code == 2 and "train.distill.teacher: it is a model from" in message.err
    assert "(8, 8, 1)" in message.err and "(8, 8, 3)" in message.err and "they must be the same" in message.err
