"""A bundle's golden samples, asked again: here, in a browser, on a GPU in software, on an emulated arm64 processor."""
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import browser
from export.delivery import golden
from export.measure import arm64
from export.predictors import open_predictor
from export.targets import web

#: A software Vulkan driver, as Chromium's package brings it.
SWIFTSHADER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")
ROOT = Path(__file__).parents[3]


def test_every_model_of_a_run_answers_as_recorded(run):
    result = golden.check_here(run / "package" / "bundle")
    assert {one.name for one in result} == {"float32", "float16", "dynamic", "int8", "saved_model"}
    assert all(one.passed and one.samples == 10 for one in result)


def test_a_model_of_two_inputs_and_a_dense_output_answers_as_recorded(dense):
    result = golden.check_here(dense.folder)
    assert {one.name for one in result} == {"float32", "int8", "saved_model"}
    assert all(one.passed and one.samples == 3 and one.output == "logits" and one.allowed > 0 for one in result)


def test_an_answer_that_is_off_is_noticed(classified):
    _, samples = golden.read(classified.folder)
    expected = samples.expected["int8"]
    allowed = golden.allowance(classified.folder / "litert" / "int8.tflite", expected)

    def checked(logits, allowed=allowed):
        return golden.checked("int8", {"logits": logits}, expected, allowed)

    assert checked(expected["logits"] + 0.9 * allowed["logits"]).passed
    assert not checked(expected["logits"] + 1.1 * allowed["logits"]).passed
    assert not checked(expected["logits"][:, ::-1], {"logits": 1e9}).passed, "another best class"
    for broken in (np.full_like(expected["logits"], np.nan), expected["logits"][:, :2]):
        assert not checked(broken).passed and checked(broken).same == 0
    assert str(checked(expected["logits"])).startswith(
        "int8                 4 of 4 samples have the recorded best class; logits off by at most 0.0e+00 of ")


def test_a_dense_output_may_flip_at_a_few_positions_only(dense):
    _, samples = golden.read(dense.folder)
    expected = samples.expected["int8"]
    allowed = {"logits": 1e9}
    flipped = expected["logits"].copy()
    flipped[0, 0, :4] = flipped[0, 0, :4, ::-1]  # 4 of 1024 positions
    assert golden.checked("int8", {"logits": flipped}, expected, allowed).passed
    flipped[0, :2] = flipped[0, :2, :, ::-1]
    assert golden.checked("int8", {"logits": flipped}, expected, allowed).same == len(samples) - 1


def test_of_several_outputs_the_one_that_is_furthest_off_is_told():
    expected = {"values": np.zeros((2, 3), "float32") + 5, "embedding": np.ones((2, 8), "float32")}
    outputs = {"values": expected["values"] + 0.4, "embedding": expected["embedding"] * 1.2}
    result = golden.checked("float32", outputs, expected, {"values": 0.5, "embedding": 0.1})
    assert (result.output, result.same) == ("embedding", 2), "its direction is the same"
    assert result.worst == pytest.approx(0.2) and not result.passed, "its numbers are not"
    assert "2 of 2 samples agree with what was recorded; embedding off by" in str(result)
    one = golden.checked("float32", {"values": expected["values"]}, expected, {"values": 1.0, "embedding": 1.0})
    assert not one.passed, "the other is missing"


def boxes_of(*rows, most=4):
    """Return the answer about one image out of (box, score, class)."""
    boxes, scores, classes = np.zeros((1, most, 4)), np.zeros((1, most)), np.zeros((1, most))
    for number, (box, score, label) in enumerate(rows):
        boxes[0, number], scores[0, number], classes[0, number] = box, score, label
    return {"detection_boxes": boxes, "detection_classes": classes, "detection_scores": scores,
            "num_detections": np.array([float(len(rows))])}


def test_boxes_may_come_in_another_order_and_nowhere_else():
    """Two of nearly the same score change places; of one class, they are told apart by where they are."""
    left, right, up = [0.1, 0.1, 0.5, 0.4], [0.1, 0.5, 0.5, 0.9], [0.1, 0.1, 0.5, 0.45]
    expected = boxes_of((left, 0.9, 1), (right, 0.90001, 1), (up, 0.4, 0))
    allowed = {"detection_boxes": 1e-3, "detection_scores": 1e-3, "detection_classes": 0.5, "num_detections": 0.5}

    def checked(*rows):
        return golden.checked("boxes", boxes_of(*rows), expected, allowed)

    swapped = checked((right, 0.90002, 1), (left, 0.9, 1), (up, 0.4, 0))
    assert swapped.passed and swapped.same == 1 and swapped.worst < 1e-4
    for other in ([(right, 0.9, 1), (up, 0.4, 0)], [(left, 0.9, 1), (left, 0.9, 1), (up, 0.4, 0)],
                  [(left, 0.9, 0), (right, 0.9, 1), (up, 0.4, 0)], [(right, 0.9, 1), (left, 0.8, 1), (up, 0.4, 0)],
                  [(left, 0.9, 1), ([0.1, 0.5, 0.5, 0.91], 0.9, 1), (up, 0.4, 0)],
                  [(left, 0.9, 1), (right, 0.9, 1), (up, 0.4, 0), (right, 0.3, 0)]):
        assert not checked(*other).passed, other
    broken = golden.checked("boxes", {**expected, "num_detections": np.array([np.nan])}, expected, allowed)
    assert not broken.passed and broken.same == 0
    assert not golden.checked("boxes", {"detection_boxes": expected["detection_boxes"]}, expected, allowed).passed


def test_allowances_follow_how_a_file_computes(dense):
    expected = {"logits": np.array([[-4.0, 2.0]])}
    integer = json.loads((dense.folder / "model.json").read_bytes())["models"][1]
    step = 3 * integer["outputs"][0]["quantization"]["scale"]
    allowed = {name: golden.allowance(dense.folder / path, expected)["logits"] for name, path in (
        ("float32", "litert/float32.tflite"), ("int8", "litert/int8.tflite"), ("saved_model", "saved_model/1"))}
    assert allowed == {"float32": pytest.approx(4e-4), "int8": pytest.approx(step), "saved_model": pytest.approx(4e-4)}


def test_models_are_asked_elsewhere_with_named_inputs(dense):
    asked = []

    def ask(paths, inputs):
        asked.append((sorted(path.stem for path in paths), {name: values.shape for name, values in inputs.items()}))
        return {path.stem: open_predictor(path).predict(inputs) for path in paths}

    assert all(one.passed for one in golden.check_with(dense.folder, ask))
    assert [one.name for one in golden.check_with(dense.folder, ask, lambda model: model.variant == "int8")] == ["int8"]
    assert asked[0] == (["float32", "int8"], {"image": (3, 32, 32, 3), "depth": (3,)}) and asked[1][0] == ["int8"]


@pytest.mark.slow
@pytest.mark.skipif(bool(arm64.missing()), reason=arm64.missing() or "all there")
@pytest.mark.parametrize("name", ["classified", "dense"])
def test_an_emulated_arm64_processor_answers_alike(request, name):
    result = golden.check_with(request.getfixturevalue(name).folder, arm64.ask)
    assert {one.name for one in result} == {"float32", "int8"}
    assert all(one.passed for one in result), [str(one) for one in result]


ON_GPU = """
import pathlib, sys
from export.delivery import golden
from export.predictors import GpuPredictor
found = golden.check_with(pathlib.Path(sys.argv[1]),
                          lambda paths, inputs: {one.stem: GpuPredictor(one).predict(inputs) for one in paths},
                          lambda model: model.variant in ("float32", "float16"))
print(len(found), all(one.passed for one in found))
"""


@pytest.mark.slow
@pytest.mark.skipif(not SWIFTSHADER.exists(), reason="no software GPU")
@pytest.mark.parametrize("name", ["classified", "dense"])
def test_litert_on_a_gpu_in_software_answers_alike(request, name, monkeypatch):
    monkeypatch.setenv("VK_DRIVER_FILES", str(SWIFTSHADER))
    folder = request.getfixturevalue(name).folder
    done = subprocess.run([sys.executable, "-c", ON_GPU, str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["1 True"], done.stderr[-1000:]


@pytest.mark.slow
@pytest.mark.skipif(not browser.there() or bool(web.missing()), reason="no Chromium with its driver, or no npm")
def test_the_page_answers_alike_in_a_browser(classified, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(classified.folder, folder)
    (folder / "web").mkdir()
    files = {name: (folder / "litert" / f"{name}.tflite").read_bytes() for name in ("float32", "int8")}
    web.write(folder / "web", classified.about, files)
    with browser.served(folder) as address:
        result = browser.wait_for(f"{address}/web/index.html?check", "done")
    assert "failed" not in result, result
    checked = {one["model"]: one for one in json.loads(result["checked"])}
    assert set(checked) == {"float32", "int8"}
    assert all(one["same"] == one["samples"] == 4 and one["worst"] < 1e-3 for one in checked.values()), checked
