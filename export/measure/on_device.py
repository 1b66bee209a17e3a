"""TFLite files timed on an attached Android phone, by LiteRT's own benchmark_model."""
from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from pydantic import BaseModel

from export.errors import last_line

#: Folder on the phone.
FOLDER = "/data/local/tmp/litepress"
#: The line that benchmark_model ends with; microseconds.
TIMINGS = re.compile(r"Inference timings in us: Init: ([\d.e+]+), First inference: ([\d.e+]+), "
                     r"Warmup \(avg\): ([\d.e+]+), Inference \(avg\): ([\d.e+]+)")
PEAK = re.compile(r"Peak memory footprint \(MB\): init=[\d.]+ overall=([\d.]+)|overall=([\d.]+)")


class OnDevice(BaseModel):
    """A file's figures on a phone, in milliseconds, and its peak memory in megabytes where the tool says it."""

    name: str
    device: str
    init_ms: float
    first_ms: float
    mean_ms: float
    peak_mb: float | None = None


def device() -> str:
    """Return the attached phone's serial number. Raises ValueError, with what to do, where there is none or several."""
    if shutil.which("adb") is None:
        raise ValueError("adb is not installed; install Android's platform tools")
    listed = [line.split("\t") for line in _adb("devices").splitlines()[1:] if "\t" in line]
    ready = [serial for serial, state in listed if state.strip() == "device"]
    if not ready:
        states = f" ({', '.join(f'{serial} is {state.strip()}' for serial, state in listed)})" if listed else ""
        raise ValueError(f"no phone is attached{states}; connect one, allow USB debugging on it, and look with adb "
                         "devices")
    if len(ready) > 1:
        raise ValueError(f"several phones are attached ({', '.join(ready)}); choose one with ANDROID_SERIAL")
    return ready[0]


def benchmark(path: Path, tool: Path, threads: int, runs: int) -> OnDevice:
    """Return a TFLite file's times on the attached phone.

    Args:
        path: the file.
        tool: LiteRT's benchmark_model, built for the phone.
        threads: processor threads to use.
        runs: at least so many.

    Raises:
        ValueError: there is no phone, or the tool fails on it.
    """
    serial = device()
    _adb("shell", "mkdir", "-p", FOLDER)
    for file in (path, tool):
        _adb("push", str(file), f"{FOLDER}/{file.name}")
    _adb("shell", "chmod", "+x", f"{FOLDER}/{tool.name}")
    output = _adb("shell", f"{FOLDER}/{tool.name}", f"--graph={FOLDER}/{path.name}", f"--num_threads={threads}",
                  f"--num_runs={runs}")
    timings = TIMINGS.search(output)
    if timings is None:
        raise ValueError(f"{tool.name} on {serial} gives no timings for {path}: {last_line(output)}")
    init, first, _, mean = (float(value) / 1000 for value in timings.groups())
    peak = PEAK.search(output)
    return OnDevice(name=str(path), device=serial, init_ms=round(init, 3), first_ms=round(first, 3),
                    mean_ms=round(mean, 4), peak_mb=float(next(filter(None, peak.groups()))) if peak else None)


def _adb(*arguments: str) -> str:
    done = subprocess.run(["adb", *arguments], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise ValueError(f"adb {arguments[0]} fails: {last_line(done.stderr or done.stdout)}")
    return done.stdout + done.stderr
