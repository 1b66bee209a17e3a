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
from pipelines.recipe import file as recipe_file
from pipelines.recipe.recipe import Recipe
from pipelines.reporting import results
from pipelines.variants.record import VariantList, layers_file

with epy.lazy_imports():
    import jinja2

NAME = "report.html"


def write(folder: Path) -> None:
    """Writes `report.html` into a run's folder, from what its stages have made so far."""
    run = runs.load(folder)
    found = results.collect(run)
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        Path(__file__).with_name("report.html.j2").read_text())
    runs.write_whole(run.folder / NAME, template.render(
        run=run.record, results=found, advice=results.recommendations(found), sentence=_sentence(found),
        estimate=results.estimate, replacements=replacements.advice,
        worth_it=profile.WORTH, protocols=results.PROTOCOLS, pictures=_pictures(run, found), details=_details(run),
        recipe=recipe_file.write(Recipe.model_validate(run.record.recipe)),
        environment=_environment(), stages=run.record.stages))


def _sentence(found: results.Results) -> str:
    """Two sentences for a reader who was not there."""
    if found.reference is None:
        return "The run stopped before the model was evaluated."
    text = f"The trained model answers {found.reference.metrics['accuracy']:.2%} of the held-out test examples correctly."
    advice = results.recommendations(found)
    for one in found.artifacts:
        if one.name in advice:
            text += (f" {one.title} is {advice[one.name]}: {one.bytes / 1000:,.0f} kB, {one.metrics['accuracy']:.2%} correct, "
                     f"{one.latency_ms.p50:.2f} ms.")
    if found.failed_gates:
        text += " It must not ship as it is: " + "; ".join(f"{gate.name} is {gate.shown}, the limit {gate.limit}"
                                                           for gate in found.failed_gates) + "."
    elif found.gates:
        text += f" All {len(found.gates)} gates passed." if len(found.gates) > 1 else " Its gate passed."
    return text


def _pictures(run: Run, found: results.Results) -> dict[str, str]:
    """Every picture of the run, by name, as a data URI."""
    drawn = {path.stem: path for stage in ("ingest", "train", "evaluate", "compress", "verify")
             for path in sorted(run.path(stage, "").glob("*.png"))}
    encoded = {name: _data_uri(path) for name, path in drawn.items()}
    if found.artifacts:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pareto.png"
            figures.pareto([(one.title, one.metrics["accuracy"], one.bytes, one.latency_ms.p50) for one in found.artifacts],
                            "accuracy", path)
            encoded["pareto"] = _data_uri(path)
    return encoded


def _details(run: Run) -> dict[str, Any]:
    """The tables behind the pictures, as far as the run came."""
    known: dict[str, Any] = {"classes": [], "index": None, "layers": {}, "ladders": {}, "skipped": {}}
    if (path := run.path("compress", "compress.json")).exists():
        latencies = runs.read_json(run.path("compress", "latency.json"))
        for one in VariantList.model_validate_json(path.read_bytes()).made:
            if (own := run.path("compress", layers_file(one.name))).exists():
                errors = explain.LayerErrors.model_validate_json(own.read_bytes()).errors
                known["layers"][one.name] = {"errors": errors, "advice": [explain.advice(error) for error in explain.worst(errors)]}
            if one.name in latencies:
                known["skipped"][one.name] = one.details["skipped"]
                known["ladders"][one.name] = [{**rung, "latency_ms": time} for rung, time in zip(
                    one.details["rungs"], latencies[one.name], strict=True)]
    if (path := run.path("evaluate", "evaluation.json")).exists():
        known["classes"] = runs.read_json(path)["classes"]
    if (path := run.path("ingest", "index.json")).exists():
        index = runs.read_json(path)
        known["index"] = {"source": index["source"], "digest": index["digest"], "unreadable": index["unreadable"][:20],
                          "classes": index["classes"],
                          "counts": {name: split["class_counts"] for name, split in index["splits"].items()}}
    return known


def _environment() -> dict[str, str]:
    import importlib.metadata
    import os
    import platform

    libraries = ("tensorflow", "keras", "ai-edge-litert", "numpy", "tensorflow-datasets", "mlflow")
    found = {"python": platform.python_version(), "platform": platform.platform(), "processors": str(os.cpu_count()),
             **{name: importlib.metadata.version(name) for name in libraries}}
    for extra in tools.EXTRAS:
        found |= tools.versions(extra)
    return found


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
