"""What a run measured: the numbers for machines, and the table for people."""
from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from export.artifacts import Exported, ExportedList
from export.delivery.recommend import DEVICES, recommended
from export.measure.compare import Measurement
from export.tflite.chunked import ENDING
from pipelines.engine.runs import Run, read_json
from pipelines.errors import UserError
from pipelines.recipe.gates import Gate, check
from pipelines.reporting.verified import PROTOCOLS, Served
from pipelines.tasks.task import Table, Task
from pipelines.training.model_section import FILE
from pipelines.variants.record import VariantList


class StageResult(BaseModel):
    """A stage: how long it took in this run, and whether its artifact was there already."""

    name: str
    seconds: float
    cached: bool


class Reference(BaseModel):
    """The trained model on the test set; `kind` is keras, or given where it was made elsewhere. `baselines` are the
    metrics of other models on the same examples, by their names; `tables` those of the report."""

    kind: str = "keras"
    metrics: dict[str, float]
    order_independent: bool
    baselines: dict[str, dict[str, float]] = {}
    tables: list[Table] = []


class Milliseconds(BaseModel):
    """Latency of one inference.

    Args:
        answered: median of a whole answer, where the driver has work behind the file: decoding and suppressing boxes.
        real_time_factor: share of the time that what is asked lasts, where that is known; below 1 it keeps up.
        why: of an integer file that gains little over float32, the reason.
    """

    p50: float
    p95: float
    threads: int
    runs: int
    answered: float | None = None
    real_time_factor: float | None = None
    why: str = ""


class ArtifactResult(Exported, Measurement):
    """A file that ships, measured on the whole test set; a SavedModel also served, by protocol."""

    latency_ms: Milliseconds
    served: dict[str, Served] = {}
    beyond: int | None = None


class Results(BaseModel):
    """All that a run measured so far. Paths are relative to the working folder.

    Args:
        compiled: what was made for hardware that this machine is not: not measured, but reported by the compilers.
        failed: variants and targets that could not be made, each with what happened; the others went on.
        left_out: targets that the user can make possible, each with a line that says how.
        folder: of the run.
    """

    recipe: str
    run_id: str
    folder: str = ""
    task: dict[str, Any] = {"image_classification": {}}
    stages: list[StageResult]
    reference: Reference | None = None
    artifacts: list[ArtifactResult] = []
    compiled: list[Exported] = []
    failed: dict[str, str] = {}
    left_out: dict[str, str] = {}
    gates: list[Gate] = []
    bundle: str | None = None
    report: str | None = None

    @cached_property
    def asked(self) -> Task:
        """Return the task, which knows what the metrics mean."""
        return Task.read(self.task)  # type: ignore[return-value]

    @property
    def failed_gates(self) -> list[Gate]:
        return [gate for gate in self.gates if not gate.passed]

    @property
    def metrics(self) -> dict[str, float]:
        """Return what the trained model reaches on the test set, by name; nothing before it was evaluated."""
        return self.reference.metrics if self.reference is not None else {}

    def artifact(self, name: str) -> ArtifactResult:
        """Return the artifact that gates call so, for instance int8. Raises UserError where there is none."""
        for one in self.artifacts:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.artifacts) or "none"
        raise UserError(f"{self.folder}: it has no artifact {name}; there are {known}")

    def table(self) -> str:
        """Return what `litepress run` prints: the table of all artifacts, and of what was compiled for others."""
        return "\n\n".join(text for text in (table(self), compiled_table(self)) if text)

    def __str__(self) -> str:
        return self.table() or f"{self.folder}: not evaluated"

    def _repr_html_(self) -> str:
        """Return the results as a notebook shows them."""
        from pipelines.reporting import notebook

        return notebook.of_results(self)


def collect(run: Run) -> Results:
    """Return the results out of a run's artifacts, as far as there are any."""
    record = run.record
    done = {name for name, stage in record.stages.items() if stage.state == "done"}
    stages = [StageResult(name=name, seconds=stage.seconds, cached=stage.cached)
              for name, stage in record.stages.items()]
    results = Results(recipe=record.recipe_path, run_id=record.id, folder=_relative(run.folder),
                      task=record.recipe["task"], stages=stages)
    if "evaluate" in done:
        evaluation = read_json(run.path("evaluate", "evaluation.json"))
        results.reference = Reference(
            kind="given" if record.recipe["model"]["builder"] == FILE else "keras",
            metrics=evaluation["metrics"], baselines=evaluation.get("baselines", {}),
            tables=evaluation.get("tables", []),
            order_independent=read_json(run.path("evaluate", "order.json"))["order_independent"])
    if "compress" in done:
        results.failed = VariantList.model_validate(read_json(run.path("compress", "compress.json"))).failed
    if "export" in done:
        exported = ExportedList.model_validate(read_json(run.path("export", "exported.json")))
        results.compiled = [one.model_copy(update={"path": _relative(run.path("export", one.path))})
                            for one in exported.artifacts if not one.runs]
        results.failed |= exported.failed
        results.left_out = exported.left_out
    if "verify" in done:
        results.artifacts = _artifacts(run)
    if "package" in done:
        results.bundle = _relative(next(run.path("package", "").glob("*.zip")))
    report = run.folder / "report.html"
    results.report = _relative(report) if report.exists() else None
    failed = _not_made(run, results) | _not_measured(results) if "verify" in done else set()
    results.gates = check(record.recipe["gates"], _values(results), failed,
                          results.reference.baselines if results.reference else {})
    return results


def _not_measured(results: Results) -> set[str]:
    """Return the values that gates may ask for and that the test set does not give, such as those of large boxes where
    there are none."""
    given = results.reference.metrics if results.reference else {}
    names = [metric.name for metric in results.asked.metrics if metric.name not in given]
    return {*names, *(f"{one.name}.{name}" for one in results.artifacts for name in names)}


def _not_made(run: Run, results: Results) -> set[str]:
    """Return the names of artifacts that gates may ask for and that could not be made: failed variants, and all of a
    failed target."""
    from pipelines.targets.section import ExportSection
    from pipelines.variants.section import CompressSection

    variants = CompressSection.model_validate(run.record.recipe["compress"]).variants
    targets = ExportSection.model_validate(run.record.recipe["export"]).targets
    names = {name for target in targets for name in target.artifacts(variants)}
    return names - {one.name for one in (*results.artifacts, *results.compiled)}


def _artifacts(run: Run) -> list[ArtifactResult]:
    exported = ExportedList.model_validate(read_json(run.path("export", "exported.json"))).here
    latencies = read_json(run.path("verify", "latency.json"))
    verified = {one["name"]: one for one in read_json(run.path("verify", "verified.json"))["artifacts"]}
    return [ArtifactResult.model_validate({**one.model_dump(), **verified[one.name], "latency_ms": latencies[one.name],
                                           "path": _relative(run.path("export", one.path))}) for one in exported]


def _values(results: Results) -> dict[str, float]:
    """Return every number that a gate can ask for, by the name that recipes call it."""
    values: dict[str, float] = dict(results.reference.metrics) if results.reference else {}
    main = results.asked.main.name
    whole = next((one for one in results.artifacts if one.name == "float32"), None)
    for one in results.artifacts:
        values |= {f"{one.name}.{name}": value for name, value in one.metrics.items()}
        values |= {f"{one.name}.drop": one.drop[main], f"{one.name}.latency_ms": one.latency_ms.p50,
                   f"{one.name}.max_error": one.max_error, f"{one.name}.agreement": one.agreement}
        if one.latency_ms.real_time_factor is not None:
            values[f"{one.name}.real_time_factor"] = one.latency_ms.real_time_factor
    made: list[Exported] = [*results.artifacts, *results.compiled]
    for file in made:
        values |= {f"{file.name}.{name}": value for name, value in file.estimates.items()}
        values |= {f"{file.name}.bytes": file.bytes, f"{file.name}.zipped_bytes": file.zipped}
        if file.coverage is not None:
            values[f"{file.name}.coverage"] = file.coverage.share
        if whole:
            values[f"{file.name}.size_ratio"] = round(file.bytes / whole.bytes, 6)
            values[f"{file.name}.zipped_ratio"] = round(file.zipped / whole.zipped, 6)
    return values


def recommendations(results: Results) -> dict[str, str]:
    """Return what an artifact is recommended for, by its name."""
    main = results.asked.main.name
    missed = [gate.name.partition(".")[0] for gate in results.failed_gates]
    unfit = [*missed, *(one.name for one in results.artifacts if not one.order_independent)]
    drops = {one.name: one.drop[main] for one in results.artifacts}
    devices: dict[str, list[str]] = {}
    for device, name in recommended(results.artifacts, drops, unfit).items():
        devices.setdefault(name, []).append(DEVICES[device])
    return {name: f"recommended for {' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))}" for name,
            names in devices.items()}


def table(results: Results) -> str:
    """Return the table of all artifacts, for a terminal; empty where the model was not evaluated."""
    rows = artifact_rows(results)
    return aligned(rows, [str.ljust, *[str.rjust] * (len(rows[0]) - 2), str.ljust]) if rows else ""


def artifact_rows(results: Results) -> list[tuple[str, ...]]:
    """Return the rows of the table of all artifacts, the first of which are its titles: the trained model, those
    beside it, and each artifact, behind which stand remarks."""
    if results.reference is None:
        return []
    main = results.asked.main
    advice = recommendations(results)
    answered = gives_answered(results)
    titles = ("artifact", "bytes", "zipped", main.title, "drop", "max |Δ|", "p50 ms", *["answered"] * answered,
              "order-independent", "")
    rows: list[tuple[str, ...]] = [titles]
    none = ["–"] * (1 + answered)
    rows.append((f"{results.reference.kind} (reference)", "–", "–", f"{results.reference.metrics[main.name]:.4f}", "–",
                 "–", *none, _yes(results.reference.order_independent), ""))
    for name, metrics in results.reference.baselines.items():
        rows.append((f"  beside: {name.replace('_', ' ')}", "–", "–", f"{metrics[main.name]:.4f}", "–", "–", *none, "–",
                     ""))
    for one in results.artifacts:
        whole = [f"{one.latency_ms.p50 if one.latency_ms.answered is None else one.latency_ms.answered:.3f}"]
        rows.append((one.title, f"{one.bytes:,}", f"{one.zipped:,}", f"{one.metrics[main.name]:.4f}",
                     _signed(one.drop[main.name]),
                     f"{one.max_error:.0e}", f"{one.latency_ms.p50:.3f}", *whole * answered,
                     _yes(one.order_independent), _remarks(results, one, advice)))
        for protocol, served in one.served.items():
            value = served.metrics[main.name]
            drop = main.drop(results.reference.metrics[main.name], value)
            # What was measured on fewer examples does not compare with the reference on all.
            numbers = (f"{value:.4f}", _signed(drop)) if served.examples is None else ("–", "–")
            rows.append((f"  served, {PROTOCOLS[protocol]}", "–", "–", *numbers, f"{served.max_error:.0e}", *none, "–",
                         ""))
    return rows


def gives_answered(results: Results) -> bool:
    """Return whether the driver of some artifact has work behind the file."""
    return any(one.latency_ms.answered is not None for one in results.artifacts)


def _signed(drop: float) -> str:
    """Return a drop with four digits, and without a sign where these are all 0."""
    return f"{round(drop, 4) + 0.0:.4f}"


def beside_trained(results: Results, one: ArtifactResult) -> dict[str, float]:
    """Return what is measured of an artifact alone, by title: how near it is to the trained model."""
    known = results.reference.metrics if results.reference else {}
    return {metric.title: one.metrics[metric.name] for metric in results.asked.metrics
            if metric.name in one.metrics and metric.name not in known}


def _remarks(results: Results, one: ArtifactResult, advice: Mapping[str, str]) -> str:
    """Return what stands behind an artifact in the table: what it is recommended for, and what a phone's file takes
    that the model does not."""
    recommended = [f"← {advice[one.name]}"] if one.name in advice else []
    if one.latency_ms.real_time_factor is not None:
        recommended.append(f"real-time factor {one.latency_ms.real_time_factor:.2g}")
    recommended += [f"{title} {value:.4g}" for title, value in beside_trained(results, one).items()]
    if one.beyond:
        limit = "what its ranges were found with" if one.ranges else "its integers"
        recommended.append(f"{one.beyond:,} test examples reach beyond {limit}")
    return "; ".join(recommended + (one.notes if one.is_tflite or one.path.endswith(ENDING) else []))


def compiled_table(results: Results) -> str:
    """Return the table of what was compiled for hardware that is not here, for a terminal; empty where nothing was."""
    rows = compiled_rows(results)
    return aligned(rows, [str.ljust, str.rjust, str.rjust, str.ljust, str.ljust]) if rows else ""


def compiled_rows(results: Results) -> list[tuple[str, ...]]:
    """Return the rows of the table of what was compiled for hardware that is not here, the first of which are its
    titles; none where nothing was."""
    if not results.compiled:
        return []
    rows: list[tuple[str, ...]] = [("compiled for", "bytes", "on it", "estimate", "")]
    for one in results.compiled:
        rows.append((one.title, f"{one.bytes:,}",
                     f"{one.coverage.taken} of {one.coverage.total}" if one.coverage else "–",
                     estimate(one), one.summary))
    return rows


def estimate(one: Exported) -> str:
    """Return what a compiler estimates, in a few words."""
    known = one.estimates
    parts = []
    if "latency_ms" in known:
        parts.append(f"{known['latency_ms']:.3f} ms")
    for name, memory in (("sram_bytes", "SRAM"), ("arena_bytes", "arena"), ("dram_bytes", "DRAM"),
                         ("flash_bytes", "flash")):
        if known.get(name):
            parts.append(f"{memory} {known[name] / 1024:,.0f} kB")
    return " · ".join(parts) or "–"


def aligned(rows: Sequence[Sequence[str]], how: Sequence[Callable[[str, int], str]]) -> str:
    """Return rows as lines of a table, each column as wide as its widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  " + "  ".join(align(cell, width) for align, cell,
                                      width in zip(how, row, widths, strict=True)).rstrip()
                     for row in rows)


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


def _relative(path: Path) -> str:
    return os.path.relpath(path)
