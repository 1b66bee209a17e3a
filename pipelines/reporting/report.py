"""The report: one HTML file that opens offline."""
from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

from etils import epy

from export.targets import replacements, tools
from export.tflite import explain, profile
from pipelines.engine import runs
from pipelines.engine.runs import Run
from pipelines.figures import figures
from pipelines.ingest.index import Index
from pipelines.recipe import file as recipe_file
from pipelines.recipe.recipe import Recipe
from pipelines.reporting import results, tables
from pipelines.reporting.verified import PROTOCOLS
from pipelines.tasks.task import Evaluation
from pipelines.variants.record import VariantList, layers_file

with epy.lazy_imports():
    import jinja2

NAME = "report.html"


def write(folder: Path) -> None:
    """Write `report.html` into a run's folder, from what its stages have made so far."""
    run = runs.load(folder)
    result = results.collect(run)
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        Path(__file__).with_name("report.html.j2").read_text())
    runs.write_whole(run.folder / NAME, template.render(
        run=run.record, results=result, answered=tables.gives_answered(result),
        beside_trained=tables.beside_trained, task=result.asked,
        advice=results.recommendations(result),
        sentence=_sentence(run, result),
        estimate=tables.estimate, replacements=replacements.advice, worth_it=profile.WORTH, protocols=PROTOCOLS,
        figures=_figures(run, result), details=_details(run),
        recipe=recipe_file.write(Recipe.model_validate(run.record.recipe)),
        environment=_environment(), stages=run.record.stages))


def _sentence(run: Run, result: results.Results) -> str:
    """Return what a reader who was not there must know, in a few sentences."""
    if result.reference is None:
        return "The run stopped before the model was evaluated."
    index = Index.model_validate_json(run.path("ingest", "index.json").read_bytes())
    evaluation = Evaluation.model_validate_json(run.path("evaluate", "evaluation.json").read_bytes())
    main = result.asked.main
    text = result.asked.sentence(index, evaluation)
    advice = results.recommendations(result)
    for one in result.artifacts:
        if one.name in advice:
            text += (f" {one.title} is {advice[one.name]}: {one.bytes / 1000:,.0f} kB, {main.title} "
                     f"{one.metrics[main.name]:.4f}, "
                     f"{one.latency_ms.p50:.2f} ms.")
    if result.failed_gates:
        missed = (f"{gate.name} is {gate.shown}, the limit {gate.limit}" for gate in result.failed_gates)
        text += f" It must not ship as it is: {'; '.join(missed)}."
    elif result.gates:
        text += f" All {len(result.gates)} gates passed." if len(result.gates) > 1 else " Its gate passed."
    return text


def _figures(run: Run, result: results.Results) -> dict[str, str]:
    """Return every figure of the run as a data URI, by name; those that a task drew as evaluate/figures/<name>."""
    drawn = {path.stem: path for stage in ("ingest", "train", "evaluate", "compress", "verify")
             for path in sorted(run.path(stage, "").glob("*.png"))}
    drawn |= {f"evaluate/figures/{path.stem}": path for path in sorted(run.path("evaluate", "figures").glob("*.png"))}
    encoded = {name: _data_uri(path) for name, path in drawn.items()}
    if result.artifacts:
        encoded["pareto"] = pareto(result)
    return encoded


def pareto(result: results.Results) -> str:
    """Return the figure of what artifacts are worth against their size and their latency, as a data URI."""
    main = result.asked.main
    points = [(one.title, one.metrics[main.name], one.bytes, one.latency_ms.p50) for one in result.artifacts]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pareto.png"
        figures.pareto(points, main.title, path)
        return _data_uri(path)


def _details(run: Run) -> dict[str, Any]:
    """Return the tables behind the figures, as far as the run came."""
    details: dict[str, Any] = {"tables": [], "figures": [], "index": None, "layers": {}, "ladders": {}, "skipped": {}}
    if run.path("compress", "compress.json").exists():
        _add_compression(run, details)
    if (path := run.path("evaluate", "evaluation.json")).exists():
        evaluation = Evaluation.model_validate_json(path.read_bytes())
        details["tables"] = evaluation.tables
        details["figures"] = evaluation.figures
    if (path := run.path("ingest", "index.json")).exists():
        details["index"] = _data_table(Index.model_validate_json(path.read_bytes()))
    return details


def _add_compression(run: Run, details: dict[str, Any]) -> None:
    latencies = runs.read_json(run.path("compress", "latency.json"))
    for one in VariantList.model_validate_json(run.path("compress", "compress.json").read_bytes()).variants:
        if (path := run.path("compress", layers_file(one.name))).exists():
            errors = explain.LayerErrors.model_validate_json(path.read_bytes()).errors
            details["layers"][one.name] = {"errors": errors,
                                           "advice": [explain.advice(error) for error in explain.worst(errors)]}
        if one.name in latencies:
            details["skipped"][one.name] = one.details["skipped"]
            details["ladders"][one.name] = [{**step, "latency_ms": time} for step, time in zip(
                one.details["rungs"], latencies[one.name], strict=True)]


def _data_table(index: Index) -> dict[str, Any]:
    """Return what the report says of the data; of targets with classes how many examples, or pixels, each has."""
    target = next((name for name in index.targets if index.names(name)), None)
    classes = index.names(target) if target else []
    counts = {name: by_target[target] for name,
              by_target in index.counts.items() if target in by_target} if target else {}
    counted = "pixels" if target and index.targets[target].role == "mask" else "examples"
    return {"source": index.source, "digest": index.digest, "unreadable": index.unreadable[:20], "classes": classes,
            "counts": counts, "counted": counted,
            "splits": {name: split.examples for name, split in index.splits.items()}}


def _environment() -> dict[str, str]:
    import importlib.metadata
    import os
    import platform

    libraries = ("tensorflow", "keras", "ai-edge-litert", "numpy", "tensorflow-datasets", "mlflow")
    result = {"python": platform.python_version(), "platform": platform.platform(), "processors": str(os.cpu_count()),
             **{name: importlib.metadata.version(name) for name in libraries}}
    for extra in tools.EXTRAS:
        result |= tools.versions(extra)
    return result


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
