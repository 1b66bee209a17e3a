"""What a run found: the numbers for machines, and the table for people."""
from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel

from export.artifacts import Exported, ExportedList
from export.verify import Worth
from pipelines.compressing.made import MadeList
from pipelines.gates import Gate, look
from pipelines.runs import Run, read_json
from pipelines.sections.model import FILE
from pipelines.tasks.image_classification import MAIN_METRIC

#: An artifact that loses no more than this is worth recommending.
ACCEPTABLE_DROP = 0.005


class StageResult(BaseModel):
    """A stage: how long it took in this run, and whether its artifact was there already."""

    name: str
    seconds: float
    cached: bool


class Reference(BaseModel):
    """The trained model on the test set; `kind` is keras, or given where it was made elsewhere."""

    kind: str = "keras"
    metrics: dict[str, float]
    order_independent: bool


class Milliseconds(BaseModel):
    """Latency of one inference; of an integer file that gains little over float32, the reason."""

    p50: float
    p95: float
    threads: int
    runs: int
    why: str = ""


class ArtifactResult(Exported, Worth):
    """A file that ships, measured on the whole test set."""

    latency_ms: Milliseconds


class Results(BaseModel):
    """All that a run found so far. Paths are relative to the working folder.

    Args:
        failed: variants that could not be made, each with what happened; the others went on.
    """

    recipe: str
    run_id: str
    stages: list[StageResult]
    reference: Reference | None = None
    artifacts: list[ArtifactResult] = []
    failed: dict[str, str] = {}
    gates: list[Gate] = []
    bundle: str | None = None
    report: str | None = None

    @property
    def failed_gates(self) -> list[Gate]:
        return [gate for gate in self.gates if not gate.passed]


def collect(run: Run) -> Results:
    """Reads the results out of a run's artifacts, as far as there are any."""
    record, done = run.record, {name for name, stage in run.record.stages.items() if stage.state == "done"}
    results = Results(recipe=record.recipe_path, run_id=record.id, stages=[
        StageResult(name=name, seconds=stage.seconds, cached=stage.cached) for name, stage in record.stages.items()])
    if "evaluate" in done:
        evaluation = read_json(run.path("evaluate", "evaluation.json"))
        results.reference = Reference(
            kind="given" if record.recipe["model"]["builder"] == FILE else "keras", metrics=evaluation["metrics"],
            order_independent=evaluation["order_independent"])
    if "compress" in done:
        results.failed = MadeList.model_validate(read_json(run.path("compress", "compress.json"))).failed
    if "verify" in done:
        results.artifacts = _artifacts(run)
    if "package" in done:
        results.bundle = _relative(next(run.path("package", "").glob("*.zip")))
    report = run.folder / "report.html"
    results.report = _relative(report) if report.exists() else None
    results.gates = look(record.recipe["gates"], _values(results), set(results.failed) if "verify" in done else ())
    return results


def _artifacts(run: Run) -> list[ArtifactResult]:
    exported = ExportedList.model_validate(read_json(run.path("export", "exported.json"))).artifacts
    latencies = read_json(run.path("verify", "latency.json"))
    verified = {one["name"]: one for one in read_json(run.path("verify", "verified.json"))["artifacts"]}
    return [ArtifactResult.model_validate(
        {**one.model_dump(), **verified[one.name], "path": _relative(run.path("export", one.path)), "latency_ms": latencies[one.name]})
        for one in exported]


def _values(results: Results) -> dict[str, float]:
    """Every number that a gate can ask for, by the name that recipes call it."""
    values: dict[str, float] = dict(results.reference.metrics) if results.reference else {}
    whole = next((one for one in results.artifacts if one.name == "float32"), None)
    for one in results.artifacts:
        values |= {f"{one.name}.{name}": value for name, value in one.metrics.items()}
        values |= {f"{one.name}.drop": one.drop[MAIN_METRIC], f"{one.name}.bytes": one.bytes,
                   f"{one.name}.zipped_bytes": one.zipped,
                   f"{one.name}.latency_ms": one.latency_ms.p50, f"{one.name}.max_logit_error": one.max_logit_error,
                   f"{one.name}.top1_agreement": one.top1_agreement}
        if whole:
            values[f"{one.name}.size_ratio"] = round(one.bytes / whole.bytes, 6)
            values[f"{one.name}.zipped_ratio"] = round(one.zipped / whole.zipped, 6)
    return values


def recommendations(results: Results) -> dict[str, str]:
    """Artifact name to what it is recommended for: the fastest that loses little, and the integer one that loses little."""
    good = [one for one in results.artifacts if one.target == "litert" and one.drop[MAIN_METRIC] <= ACCEPTABLE_DROP
            and one.order_independent and not any(gate.name.startswith(f"{one.name}.") for gate in results.failed_gates)]
    found: dict[str, str] = {}
    for one in good:
        if one.integer:
            found[one.name] = "recommended for NPUs"
            break
    if good:
        fastest = min(good, key=lambda one: one.latency_ms.p50).name
        found[fastest] = "recommended for phones' CPUs and NPUs" if fastest in found else "recommended for phones' CPUs"
    return found


def table(results: Results) -> str:
    """The table of all artifacts, for a terminal."""
    if results.reference is None:
        return ""
    advice = recommendations(results)
    rows = [("artifact", "bytes", "zipped", "accuracy", "drop", "logits ±", "p50 ms", "order-free", "")]
    rows.append((f"{results.reference.kind} (reference)", "–", "–", f"{results.reference.metrics[MAIN_METRIC]:.4f}", "–", "–", "–",
                 _yes(results.reference.order_independent), ""))
    for one in results.artifacts:
        rows.append((one.title, f"{one.bytes:,}", f"{one.zipped:,}", f"{one.metrics[MAIN_METRIC]:.4f}",
                     f"{one.drop[MAIN_METRIC]:.4f}", f"{one.max_logit_error:.0e}", f"{one.latency_ms.p50:.3f}", _yes(one.order_independent),
                     f"← {advice[one.name]}" if one.name in advice else ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    aligned = [str.ljust, *[str.rjust] * (len(widths) - 2), str.ljust]
    return "\n".join("  " + "  ".join(align(cell, width) for align, cell, width in zip(aligned, row, widths, strict=True)).rstrip()
                     for row in rows)


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


def _relative(path: Path) -> str:
    return os.path.relpath(path)
