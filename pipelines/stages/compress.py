"""Compress: makes the variants of the trained model, each in a process of its own."""
from __future__ import annotations

import json
import shutil
from pathlib import Path

from export.conversion import convert
from export.keras_models import file as keras_file
from export.tflite import explain
from export.tflite import file as tflite_file
from pipelines.engine import workers
from pipelines.engine.journal import Journal
from pipelines.errors import StageError
from pipelines.figures import compression
from pipelines.stages.context import Context
from pipelines.training.imported_model import trained
from pipelines.variants.record import VariantList, VariantRecord, layers_file
from pipelines.variants.variant import Variant, VariantContext

LISTING = "compress.json"
#: Where a variant works, in the stage's work folder, until the stage is done.
WORK = "work"
#: Pictures that operators are compared on.
EXPLAINED = 32
#: How long each rung of a ladder took to answer: measured, so it is no part of what the stage made.
LATENCY = "latency.json"


def run(context: Context) -> str:
    recipe, model = context.recipe, trained(context.inputs["train"])
    graph, work, journal = context.work / "graph", context.work / WORK, context.journal
    shutil.rmtree(graph, ignore_errors=True)
    context.progress(0, "tracing the graph")
    if model.suffix == ".tflite":
        graph, layers = model, sorted(tflite_file.operators(model.read_bytes()))
    else:
        layers = workers.isolated(trace, model, graph, what="compress: tracing the model")
    made, failed, latencies = [], {}, {}
    for number, variant in enumerate(recipe.compress.variants):
        span = (number / len(recipe.compress.variants), (number + 1) / len(recipe.compress.variants))
        context.progress(span[0], variant.title)
        shop = VariantContext(recipe.data, recipe.train, recipe.seed, context.index(), model, graph, work / variant.title,
                        recipe.compress.calibration, Journal(journal.path, f"{variant.title}."), span)
        one = _finished(work / variant.title)
        try:
            one = one or workers.isolated(make, variant.written(), shop, context.work, what=f"compress {variant.title}")
        except StageError as error:
            said = str(error).removesuffix(f". See {context.work / 'log.txt'}")  # which moves with the artifact
            failed[variant.title] = f"{said}, on layer types {', '.join(layers)}"
            journal.note(f"failed: {failed[variant.title]}")
            continue
        made.append(one)
        _record(context, one)
        if rungs := one.details.get("rungs"):
            latencies[one.name] = [rung.pop("latency_ms") for rung in rungs]
            compression.ladder(rungs, one.details["limit"], context.work / f"ladder_{one.name}.png")
    if not made:
        raise StageError("\n".join(failed.values()))
    shutil.rmtree(context.work / "graph", ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)
    (context.work / LATENCY).write_text(json.dumps(latencies))
    (context.work / LISTING).write_text(VariantList(made=made, failed=failed).model_dump_json(indent=1))
    told = " · ".join(f"{one.name} {one.bytes / 1000:,.0f} kB" for one in made)
    return told + (f" · FAILED: {', '.join(failed)}" if failed else "")


def trace(model: Path, graph: Path) -> list[str]:
    """Writes the graph that the variants are converted from; the model's layer types."""
    loaded = keras_file.load(model)
    convert.float_graph(loaded, graph)
    return sorted({type(layer).__name__ for layer in loaded.layers})


def make(written: dict, shop: VariantContext, folder: Path) -> VariantRecord:
    """Makes one variant's file in a folder."""
    variant: Variant = Variant.read(written)  # type: ignore[assignment]
    shop.folder.mkdir(parents=True, exist_ok=True)
    try:
        made = variant.make(shop, folder / f"{variant.title}.tflite")
    except ValueError as error:
        raise StageError(f"compress {variant.title}: {' '.join(str(error).split())[:500]}") from error
    if variant.explained:
        explain_layers(made.name, shop, folder)
    beside = shop.folder / "made.json.part"
    beside.write_text(made.model_dump_json())
    beside.rename(shop.folder / "made.json")
    return made


def explain_layers(name: str, shop: VariantContext, folder: Path) -> None:
    """Writes and draws how far each operator of a variant's file is from the trained model's, on validation pictures."""
    images, _ = shop.validation()
    try:
        errors = explain.layer_errors((folder / f"{name}.tflite").read_bytes(), shop.exact(), images[:EXPLAINED])
    except ValueError as error:
        shop.journal.note(f"operators not compared: {error}")
        return
    if errors:
        (folder / layers_file(name)).write_text(explain.LayerErrors(errors=errors).model_dump_json(indent=1))
        compression.layers(errors, folder / f"layers_{name}.png")


def _finished(folder: Path) -> VariantRecord | None:
    """What an interrupted run had already made."""
    path = folder / "made.json"
    return VariantRecord.model_validate_json(path.read_bytes()) if path.exists() else None


def _record(context: Context, made: VariantRecord) -> None:
    journal = Journal(context.journal.path, f"{made.name}.")
    journal.metrics({"bytes": made.bytes, "zipped": made.zipped})
    journal.parameters({"summary": made.summary, **{name: value for name, value in made.details.items() if name != "rungs"}})
    if digest := made.details.get("calibration_digest"):
        context.journal.dataset(f"{context.index().source}/calibration", digest, made.details["calibration"], "calibration")
    for place, rung in enumerate(made.details.get("rungs", [])):
        journal.metrics({f"rung.{name}": rung[name] for name in ("drop", "bytes", "latency_ms")}, step=place)
