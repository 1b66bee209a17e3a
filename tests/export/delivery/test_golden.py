"""A bundle's golden samples, asked again: here, in a browser, on a GPU in software, and on an emulated arm64 processor."""
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
from export.targets import web
from export.tflite import gpu_coverage
from export.tflite.metadata import Description

#: A software Vulkan driver, as Chromium's package brings it.
SWIFTSHADER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")


@pytest.fixture(scope="module")
def bundle(run):
    return run / "package" / "bundle"


def test_every_model_answers_as_recorded(bundle):
    found = golden.check_here(bundle)
    assert {one.name for one in found} == {"float32", "float16", "dynamic", "int8", "saved_model"}
    assert all(one.passed and one.samples == 10 for one in found)


def test_an_answer_that_is_off_is_noticed(bundle):
    _, samples = golden.read(bundle)
    expected = np.array(samples.expected["int8"])
    allowed = golden.allowance(bundle / "litert" / "int8.tflite", samples.expected["int8"])
    assert golden.compare("int8", expected + 0.9 * allowed, samples.expected["int8"], allowed).passed
    assert not golden.compare("int8", expected + 1.1 * allowed, samples.expected["int8"], allowed).passed
    assert not golden.compare("int8", expected[:, ::-1], samples.expected["int8"], 1e9).passed, "another best class"


@pytest.mark.slow
@pytest.mark.skipif(bool(arm64.missing()), reason=arm64.missing() or "all there")
def test_an_emulated_arm64_processor_answers_alike(bundle):
    found = golden.check_with(bundle, arm64.ask)
    assert {one.name for one in found} == {"float32", "float16", "dynamic", "int8"}
    assert all(one.passed for one in found), [str(one) for one in found]


@pytest.mark.slow
@pytest.mark.skipif(not SWIFTSHADER.exists(), reason="no software GPU")
def test_litert_on_a_gpu_in_software_answers_alike(bundle, monkeypatch):
    monkeypatch.setenv("VK_DRIVER_FILES", str(SWIFTSHADER))
    code = """
import pathlib, sys
from export import golden
from export.targets import gpu
found = golden.check_with(pathlib.Path(sys.argv[1]), lambda paths, images: {one.stem: gpu.answers(one, images) for one in paths},
                          lambda model: model.variant in ("float32", "float16"))
print(len(found), all(one.passed for one in found))
"""
    done = subprocess.run([sys.executable, "-c", code, str(bundle)], cwd=Path(gpu_coverage.__file__).parents[2], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["2 True"], done.stderr[-1000:]


@pytest.mark.slow
@pytest.mark.skipif(not browser.there() or bool(web.missing()), reason="no Chromium with its driver, or no npm")
def test_the_page_answers_alike_in_a_browser(bundle, tmp_path):
    place = tmp_path / "bundle"
    shutil.copytree(bundle, place)
    (place / "web").mkdir()
    labels = (bundle / "labels.txt").read_text().splitlines()
    files = {name: (bundle / "litert" / f"{name}.tflite").read_bytes() for name in ("float32", "int8")}
    web.write(place / "web", Description(name="tiny", labels=labels), files)
    with browser.served(place) as address:
        found = browser.wait_for(f"{address}/web/index.html?check", "done")
    assert "failed" not in found, found
    checked = {one["model"]: one for one in json.loads(found["checked"])}
    assert set(checked) == {"float32", "int8"}
    assert all(one["same"] == one["samples"] == 10 and one["worst"] < 1e-3 for one in checked.values()), checked
