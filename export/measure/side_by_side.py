"""Artifacts timed side by side: in turns, so that whatever else the machine does hits all alike."""
from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from etils import epy
from pydantic import BaseModel

from export.predictors import choose, open_predictor
from export.predictors.bucketed import UP_TO, lengths
from export.signature import DEFAULT
from export.tflite import profile, signatures

with epy.lazy_imports():
    import numpy as np

#: Runtimes by the ending of what they run.
RUNTIMES = {".tflite": "LiteRT", ".onnx": "ONNX Runtime", ".xml": "OpenVINO", ".keras": "Keras", ".cc": "TFLite Micro"}
#: Turns that the runs are spread over.
TURNS = 20


class Start(BaseModel):
    """What an artifact costs before it answers.

    Args:
        load_ms, first_ms: milliseconds to load it, and for the first inference.
        peak_bytes: memory that both took at the most, of a process that had done nothing else.
    """

    load_ms: float
    first_ms: float
    peak_bytes: int


class Timed(BaseModel):
    """An artifact's figures. Milliseconds of one inference on one example, and inferences per second.

    Args:
        operators: milliseconds by kind of operator, the most expensive first; of TFLite files, where it was asked for.
    """

    name: str
    runtime: str
    bytes: int
    threads: int
    runs: int
    p50: float
    p90: float
    p99: float
    per_second: float
    load_ms: float
    first_ms: float
    peak_bytes: int
    operators: dict[str, float] = {}


def runtime(path: Path) -> str:
    """Return what runs an artifact."""
    return RUNTIMES.get(path.suffix, "TensorFlow")


def timed_signatures(path: Path) -> list[str]:
    """Return the signatures of an artifact that are timed: the usual one, and before it those of shorter texts.

    Raises:
        ValueError: it is not a TFLite model.
    """
    if path.suffix != ".tflite":
        return [DEFAULT]
    try:
        known = lengths(signatures.of(path.read_bytes()))
    except ValueError as error:
        raise ValueError(f"{path} is not a TFLite model: {error}") from error
    return [*(f"{UP_TO}{length}" for length in known), DEFAULT]


def start(path: Path, threads: int, signature: str = DEFAULT) -> Start:
    """Load an artifact and ask it once. To be called in a process that has done nothing yet."""
    before = _forget_peak()
    started = time.perf_counter()
    run = _prepared(path, threads, signature)
    loaded = time.perf_counter()
    run()
    ended = time.perf_counter()
    return Start(load_ms=round(1000 * (loaded - started), 3), first_ms=round(1000 * (ended - loaded), 3),
                 peak_bytes=max(0, _peak() - before))


def interleaved(paths: Sequence[Path], threads: int, runs: int,
                asked: Sequence[str] | None = None) -> list[list[float]]:
    """Return the milliseconds of each run of each artifact, after a warm-up, all taking turns.

    Args:
        asked: signature of each; the usual ones where not given.
    """
    prepared = [_prepared(path, threads, signature)
                for path, signature in zip(paths, asked or [DEFAULT] * len(paths), strict=True)]
    times: list[list[float]] = [[] for _ in paths]
    for run in prepared:
        for _ in range(max(10, runs // 5)):
            run()
    turns = min(TURNS, runs)
    for turn in range(turns):
        for own, run in zip(times, prepared, strict=True):
            run()  # what ran before has emptied the caches
            for _ in range(runs // turns + (turn < runs % turns)):
                started = time.perf_counter_ns()
                run()
                own.append((time.perf_counter_ns() - started) / 1e6)
    return times


def operators(path: Path, threads: int) -> dict[str, float]:
    """Return the milliseconds by kind of operator of a TFLite file, each operator timed on its own."""
    times = profile.operator_times(path.read_bytes(), threads=threads)
    return {kind: round(ms, 4) for kind, ms in profile.by_kind(times).items()}


def figures(path: Path, times: Sequence[float], begun: Start, threads: int,
            kinds: dict[str, float] | None = None, signature: str = DEFAULT) -> Timed:
    """Return an artifact's figures out of its measured times; a signature that is not the usual one is in its name."""
    p50, p90, p99 = (round(float(value), 4) for value in np.percentile(times, (50, 90, 99)))
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    if path.suffix == ".xml":
        size += path.with_suffix(".bin").stat().st_size
    name = str(path) if signature == DEFAULT else f"{path} {signature}"
    return Timed(name=name, runtime=runtime(path), bytes=size, threads=threads, runs=len(times), p50=p50, p90=p90,
                 p99=p99, per_second=round(1000 / float(np.mean(times)), 1), operators=kinds or {},
                 **begun.model_dump())


def _prepared(path: Path, threads: int, name: str = DEFAULT) -> Callable[[], object]:
    """Return one inference on a random example that is in place already."""
    predictor = open_predictor(path, threads)
    signature = choose(predictor.signatures, name)
    return predictor.prepared(signature.example(), signature.name)


def _forget_peak() -> int:
    """Set the process's peak memory back to what it uses now, where the system can; return that, in bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return _peak()


def _peak() -> int:
    """Return the most memory that the process has used, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
