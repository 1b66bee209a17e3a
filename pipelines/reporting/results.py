"""What a run measured: the numbers for machines, and the table for people."""
from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from export.artifacts import Exported, ExportedList
from export.delivery.recommend import DEVICES, recommended
from export.measure.compare import Measurement
from pipelines.engine.runs import Run, read_json
from pipelines.errors import UserError
from pipelines.recipe.gates import Gate, check
from pipelines.reporting.milliseconds import Milliseconds
from pipelines.reporting.verified import Served
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
        from pipelines.reporting import tables

        return "\n\n".join(text for text in (tables.table(self), tables.compiled_table(self)) if text)

    def __str__(self) -> str:
        return self.table() or f"{self.folder}: not evaluated"

    def __repr__(self) -> str:
        return str(self)

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


def _relative(path: Path) -> str:
    return os.path.relpath(path)
