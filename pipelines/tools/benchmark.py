"""`litepress benchmark`: artifacts side by side on this machine, or on a phone."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from export.measure import on_device, side_by_side
from export.measure.on_device import OnDevice
from export.measure.side_by_side import Timed
from pipelines.engine import runs, workers
from pipelines.errors import StageError, UserError
from pipelines.reporting import results
from pipelines.reporting.results import aligned

#: Kinds of operators that a profile shows.
SHOWN = 5


class Found(BaseModel):
    """The figures of all artifacts."""

    artifacts: list[Timed] = []
    phone: list[OnDevice] = []


def files_of(artifacts: Sequence[Path]) -> list[Path]:
    """The files and folders to time: each as it is given, a run's folder as all that it can run. Raises UserError."""
    found: list[Path] = []
    for one in artifacts:
        if not one.exists():
            raise UserError(f"benchmark: there is no {one}; give .tflite, .onnx, .xml, .cc or .keras files, SavedModels, or a run's folder")
        if (one / runs.RECORD).exists():
            found += [Path(made.path) for made in results.collect(runs.load(one)).artifacts]
        else:
            found.append(one)
    if not found:
        raise UserError("benchmark: the run has no verified models yet; let it come to its end with litepress run")
    return found


def benchmark(paths: Sequence[Path], threads: int, repetitions: int, profile: bool) -> Found:
    """Times artifacts side by side. Raises UserError where one cannot be run."""
    try:
        begun = [workers.call(side_by_side.start, path, threads, what=f"benchmark {path}") for path in paths]
        times = workers.call(side_by_side.interleaved, list(paths), threads, repetitions, what="benchmark")
        kinds = [workers.call(side_by_side.operators, path, threads, what=f"benchmark {path}: operators")
                 if profile and path.suffix == ".tflite" else {} for path in paths]
    except StageError as error:
        raise UserError(f"benchmark: {str(error).removeprefix('benchmark: ').replace('ValueError: ', '')}") from error
    return Found(artifacts=[side_by_side.figures(path, own, start, threads, known)
                            for path, own, start, known in zip(paths, times, begun, kinds, strict=True)])


def on_phone(paths: Sequence[Path], tool: Path, threads: int, repetitions: int) -> list[OnDevice]:
    """Times the TFLite files among some artifacts on the attached phone. Raises UserError."""
    if not tool.is_file():
        raise UserError(f"--benchmark-model {tool}: there is no such file; give LiteRT's benchmark_model, built for the phone")
    try:
        return [on_device.benchmark(path, tool, threads, repetitions) for path in paths if path.suffix == ".tflite"]
    except ValueError as error:
        raise UserError(f"benchmark: {error}") from error


def lines(found: Found) -> list[str]:
    """The figures as tables."""
    told: list[str] = []
    if found.artifacts:
        first = found.artifacts[0].p50
        rows: list[tuple[str, ...]] = [("artifact", "runtime", "bytes", "load ms", "first ms", "p50 ms", "p90 ms", "p99 ms", "per second",
                                        "peak MB", "against first")]
        rows += [(one.name, one.runtime, f"{one.bytes:,}", f"{one.load_ms:,.1f}", f"{one.first_ms:.2f}", f"{one.p50:.3f}", f"{one.p90:.3f}",
                  f"{one.p99:.3f}", f"{one.per_second:,.0f}", f"{one.peak_bytes / 1e6:,.1f}", f"{one.p50 / first:.2f}")
                 for one in found.artifacts]
        told.append(aligned(rows, [str.ljust, str.ljust, *[str.rjust] * (len(rows[0]) - 2)]))
        one = found.artifacts[0]
        told.append(f"  {one.runs} runs each in turns, {one.threads} thread{'s' * (one.threads > 1)}, one example at a time")
        told += [f"  {one.name}: " + ", ".join(f"{kind} {ms:.3f} ms" for kind, ms in list(one.operators.items())[:SHOWN])
                 for one in found.artifacts if one.operators]
    if found.phone:
        rows = [("on the phone", "device", "init ms", "first ms", "mean ms", "peak MB")]
        rows += [(one.name, one.device, f"{one.init_ms:.2f}", f"{one.first_ms:.3f}", f"{one.mean_ms:.3f}",
                  f"{one.peak_mb:.1f}" if one.peak_mb is not None else "–") for one in found.phone]
        told.append(aligned(rows, [str.ljust, str.ljust, *[str.rjust] * 4]))
    return told
