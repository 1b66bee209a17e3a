"""Timing side by side, and on a phone."""
import os
import stat
import time

import numpy as np
import pytest

from export.measure import on_device, side_by_side
from export.predictors import IMAGE, LiteRTPredictor


def test_the_median_is_what_a_hand_written_loop_measures(run):
    path = run / "export" / "litert" / "float32.tflite"
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3)).astype("uint8")
    by_hand = []
    for _ in range(3):
        found = side_by_side.interleaved([path, path], 1, 400)
        invoke = LiteRTPredictor(path).prepared({IMAGE: image})
        for _ in range(100):
            invoke()
        times = []
        for _ in range(400):
            started = time.perf_counter()
            invoke()
            times.append(1000 * (time.perf_counter() - started))
        by_hand.append(np.median(times) / np.median(found[0]))
        assert len(found[0]) == len(found[1]) == 400
    assert np.median(by_hand) == pytest.approx(1, abs=0.25), "the machine may be busy while tests run; benchmarks/targets.py wants 5 %"


def test_loading_is_measured_on_its_own(run):
    found = side_by_side.start(run / "export" / "litert" / "int8.tflite", 1)
    assert found.load_ms > 0 and found.first_ms > 0 and found.peak_bytes >= 0
    times = [0.1, 0.2, 0.3, 0.4]
    timed = side_by_side.figures(run / "export" / "litert" / "int8.tflite", times, found, 1)
    assert timed.p50 == 0.25 and timed.per_second == 4000 and timed.runtime == "LiteRT"


ADB = """#!/bin/sh
# stands in for adb with one phone: push copies, shell runs here
case "$1" in
  devices) printf 'List of devices attached\\n%s' "$PHONES" ;;
  push) cp "$2" "$ROOT/$(basename "$3")" ;;
  shell) shift; case "$1" in
    mkdir|chmod) ;;
    *) tool=$(basename "$1"); shift; "$ROOT/$tool" "$@" ;;
  esac ;;
esac
"""
TOOL = """#!/bin/sh
echo "INFO: Initialized TensorFlow Lite runtime $*"
echo "Inference timings in us: Init: 1834, First inference: 412, Warmup (avg): 250.5, Inference (avg): 236.25"
echo "Memory footprint delta from the start of the tool (MB): init=2.1 overall=5.25"
"""


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """A stand-in for adb and benchmark_model: there is no phone here. Sets which phones are attached."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "root").mkdir()
    for name, text in (("bin/adb", ADB), ("benchmark_model", TOOL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod((tmp_path / name).stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ROOT", str(tmp_path / "root"))
    return lambda text: monkeypatch.setenv("PHONES", text)


def test_a_phones_timings_are_read_as_benchmark_model_prints_them(phone, run, tmp_path):
    phone("emulator-5554\tdevice\n")
    path = run / "export" / "litert" / "int8.tflite"
    found = on_device.benchmark(path, tmp_path / "benchmark_model", 2, 50)
    assert (found.device, found.init_ms, found.first_ms, found.mean_ms, found.peak_mb) == ("emulator-5554", 1.834, 0.412, 0.2362, 5.25)
    assert (tmp_path / "root" / "int8.tflite").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("phones", "expected"), [
    ("", "no phone is attached; connect one"), ("A1\tunauthorized\n", r"no phone is attached \(A1 is unauthorized\)"),
    ("A1\tdevice\nB2\tdevice\n", r"several phones are attached \(A1, B2\); choose one with ANDROID_SERIAL")])
def test_without_a_phone_it_says_so(phone, phones, expected):
    phone(phones)
    with pytest.raises(ValueError, match=expected):
        on_device.device()
