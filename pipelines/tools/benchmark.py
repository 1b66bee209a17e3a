"""`litepress benchmark`: artifacts side by side on this machine, or on a phone."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from export.measure import on_device, side_by_side
from export.measure.on_device import OnDevice
from export.measure.side_by_side import Timed
from export.signature import DEFAULT
from pipelines.engine import runs, workers
from pipelines.errors import StageError, UserError
from pipelines.reporting import results
from pipelines.reporting.tables import aligned

#: Kinds of operators that a profile shows.
SHOWN = 5
HERE = ("artifact", "runtime", "bytes", "load ms", "first ms", "p50 ms", "p90 ms", "p99 ms", "per second", "peak MB",
        "against first")
ON_PHONE = ("on the phone", "device", "init ms", "first ms", "mean ms", "peak MB")


class Benchmark(BaseModel):
    """The figures of all artifacts."""

    artifacts: list[Timed] = []
    phone: list[OnDevice] = []


def files_of(artifacts: Sequence[Path]) -> list[Path]:
    """Return the files and folders to time: each as it is, a run's folder as all that it can run. Raises UserError."""
    paths: list[Path] = []
    for artifact in artifacts:
        if not artifact.exists():
            raise UserError(f"benchmark: there is no {artifact}; give .tflite, .onnx, .xml, .cc or .keras files, "
                            "SavedModels, or a run's folder")
        if (artifact / runs.RECORD).exists():
            paths += [Path(one.path) for one in results.collect(runs.load(artifact)).artifacts]
        else:
            paths.append(artifact)
    if not paths:
        raise UserError("benchmark: the run has no verified models yet; finish it with litepress run")
    return paths


def benchmark(paths: Sequence[Path], threads: int, repetitions: int, profile: bool) -> Benchmark:
    """Time artifacts side by side, each signature for shorter texts by itself. Raises UserError where one cannot be
    run."""
    kinds: list[dict[str, float]] = []
    try:
        timed = [(path, name) for path in paths
                 for name in workers.call(side_by_side.timed_signatures, path, what=f"benchmark {path}")]
        files, names = [path for path, _ in timed], [name for _, name in timed]
        starts = [workers.call(side_by_side.start, path, threads, name, what=f"benchmark {path}")
                  for path, name in timed]
        times = workers.call(side_by_side.interleaved, files, threads, repetitions, names, what="benchmark")
        for path, name in timed:
            if profile and path.suffix == ".tflite" and name == DEFAULT:
                what = f"benchmark {path}: operators"
                kinds.append(workers.call(side_by_side.operators, path, threads, what=what))
            else:
                kinds.append({})
    except StageError as error:
        raise UserError(f"benchmark: {str(error).removeprefix('benchmark: ').replace('ValueError: ', '')}") from error
    return Benchmark(artifacts=[
        side_by_side.figures(path, measured, start, threads, operators, name)
        for (path, name), measured, start, operators in zip(timed, times, starts, kinds, strict=True)])


def on_phone(paths: Sequence[Path], tool: Path, threads: int, repetitions: int) -> list[OnDevice]:
    """Time the TFLite files among some artifacts on the attached phone. Raises UserError."""
    if not tool.is_file():
        raise UserError(f"--benchmark-model {tool}: there is no such file; give LiteRT's benchmark_model, built for "
                        "the phone")
    try:
        return [on_device.benchmark(path, tool, threads, repetitions) for path in paths if path.suffix == ".tflite"]
    except ValueError as error:
        raise UserError(f"benchmark: {error}") from error


def lines(result: Benchmark) -> list[str]:
    """Return the figures as tables."""
    return [*(_here(result.artifacts) if result.artifacts else []), *(_on_phone(result.phone) if result.phone else [])]


def _here(artifacts: Sequence[Timed]) -> list[str]:
    first = artifacts[0]
    rows = [HERE, *(_row(one, first) for one in artifacts)]
    threads = f"{first.threads} thread{'s' if first.threads > 1 else ''}"
    output = [aligned(rows, [str.ljust, str.ljust, *[str.rjust] * (len(HERE) - 2)]),
              f"  {first.runs} runs of each, interleaved, on {threads}, one example at a time"]
    for one in artifacts:
        if one.operators:
            slowest = list(one.operators.items())[:SHOWN]
            output.append(f"  {one.name}: " + ", ".join(f"{kind} {ms:.3f} ms" for kind, ms in slowest))
    return output


def _row(one: Timed, first: Timed) -> tuple[str, ...]:
    times = (f"{one.load_ms:,.1f}", f"{one.first_ms:.2f}", f"{one.p50:.3f}", f"{one.p90:.3f}", f"{one.p99:.3f}")
    memory = f"{one.peak_bytes / 1e6:,.1f}"
    ratio = f"{one.p50 / first.p50:.2f}"
    return one.name, one.runtime, f"{one.bytes:,}", *times, f"{one.per_second:,.0f}", memory, ratio


def _on_phone(timed: Sequence[OnDevice]) -> list[str]:
    rows = [ON_PHONE]
    for one in timed:
        memory = f"{one.peak_mb:.1f}" if one.peak_mb is not None else "–"
        rows.append((one.name, one.device, f"{one.init_ms:.2f}", f"{one.first_ms:.3f}", f"{one.mean_ms:.3f}", memory))
    return [aligned(rows, [str.ljust, str.ljust, *[str.rjust] * 4])]
