"""Timing side by side, and on a phone."""
import os
import stat
import time

import numpy as np
import pytest

from export.measure import on_device, side_by_side
from export.predictors import LiteRTPredictor


@pytest.mark.timed
def test_the_median_is_what_a_hand_written_loop_measures(converted, examples):
    path, inputs = converted["float32"], examples(1)
    by_hand = []
    for _ in range(3):
        times = side_by_side.interleaved([path, path], 1, 400)
        invoke = LiteRTPredictor(path).prepared(inputs)
        for _ in range(100):
            invoke()
        own = []
        for _ in range(400):
            started = time.perf_counter()
            invoke()
            own.append(1000 * (time.perf_counter() - started))
        by_hand.append(np.median(own) / np.median(times[0]))
        assert len(times[0]) == len(times[1]) == 400
    assert np.median(by_hand) == pytest.approx(1, abs=0.25), "the machine may be busy while tests run"


@pytest.mark.parametrize("name", ["float32", "both", "bare"])
def test_a_file_of_any_signature_is_timed(name, converted):
    times = side_by_side.interleaved([converted[name]], 1, 20)
    assert len(times[0]) == 20 and min(times[0]) > 0


def test_loading_is_measured_on_its_own(converted):
    start = side_by_side.start(converted["int8"], 1)
    assert start.load_ms > 0 and start.first_ms > 0 and start.peak_bytes >= 0
    timed = side_by_side.figures(converted["int8"], [0.1, 0.2, 0.3, 0.4], start, 1)
    assert timed.p50 == 0.25 and timed.per_second == 4000 and timed.runtime == "LiteRT"


def test_operators_are_timed_by_kind(converted):
    kinds = side_by_side.operators(converted["float32"], 1)
    assert {"MEAN", "FULLY_CONNECTED", "ADD"} >= set(kinds) and min(kinds.values()) > 0


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


def test_a_phones_timings_are_read_as_benchmark_model_prints_them(phone, converted, tmp_path):
    phone("emulator-5554\tdevice\n")
    path = converted["int8"]
    result = on_device.benchmark(path, tmp_path / "benchmark_model", 2, 50)
    assert (result.device, result.init_ms, result.first_ms, result.mean_ms, result.peak_mb) == (
        "emulator-5554", 1.834, 0.412, 0.2362, 5.25)
    assert (tmp_path / "root" / "int8.tflite").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("phones", "expected"), [
    ("", "no phone is attached; connect one"), ("A1\tunauthorized\n", r"no phone is attached \(A1 is unauthorized\)"),
    ("A1\tdevice\nB2\tdevice\n", r"several phones are attached \(A1, B2\); choose one with ANDROID_SERIAL")])
def test_without_a_phone_it_says_so(phone, phones, expected):
    phone(phones)
    with pytest.raises(ValueError, match=expected):
        on_device.device()
