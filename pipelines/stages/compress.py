"""Compress: makes the variants of the trained model, each in a process of its own."""
from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from export.conversion import convert, fused, unrolled
from export.encodings import ENCODINGS
from export.keras_models import file as keras_file
from export.tflite import explain
from export.tflite import file as tflite_file
from pipelines.engine import workers
from pipelines.engine.journal import Journal
from pipelines.engine.runs import write_whole
from pipelines.errors import StageError
from pipelines.figures import compression
from pipelines.ingest.data import Data
from pipelines.stages.context import LATENCY, Context, without_log
from pipelines.variants.record import VARIANTS, VariantList, VariantRecord, layers_file
from pipelines.variants.variant import RANGES, Variant, VariantContext, device_functions

#: Where a variant works, in the stage's work folder, until the stage is done.
WORK = "variants"
#: What a variant leaves there when it is made, so that an interrupted run does not make it again.
RECORD = "record.json"
#: Examples that operators are compared on.
EXPLAINED = 32


def run(context: Context) -> str:
    recipe, data, variants = context.recipe, context.data(), context.recipe.compress.variants
    graph, layers, loops = _graph(context, data)
    limits = {variant.title: limit for variant in variants if (limit := recipe.limit_of(variant)) is not None}
    shared = VariantContext(
        data=data, train=recipe.train, model=context.model(), graph=graph, folder=context.work / WORK,
        calibration_section=recipe.compress.calibration, journal=context.journal, limits=limits,
        recurrent=graph != context.model() and bool(_recurrent(layers)))
    made: list[VariantRecord] = []
    failed: dict[str, str] = {}
    latencies: dict[str, list[float]] = {}
    for number, variant in enumerate(variants):
        span = (number / len(variants), (number + 1) / len(variants))
        context.progress(span[0], variant.title)
        try:
            record = _made(variant, shared, span, context.work)
        except StageError as error:
            failed[variant.title] = (f"{without_log(str(error), context.work)}, on layer types {', '.join(layers)}"
                                     f"{_instead(variant, loops)}")
            context.journal.note(f"failed: {failed[variant.title]}")
            continue
        made.append(record)
        _journal(context, record)
        if trials := record.details.get("rungs"):
            # measured, so it is no part of what the stage made
            latencies[record.name] = [trial.pop("latency_ms") for trial in trials]
            compression.trials(trials, record.details["limit"], context.work / f"ladder_{record.name}.png")
    if not made:
        raise StageError("\n".join(failed.values()))
    shutil.rmtree(context.work / "graph", ignore_errors=True)
    shutil.rmtree(context.work / WORK, ignore_errors=True)
    (context.work / LATENCY).write_text(json.dumps(latencies))
    (context.work / VARIANTS).write_text(VariantList(variants=made, failed=failed).model_dump_json(indent=1))
    line = " · ".join(f"{record.name} {record.bytes / 1000:,.0f} kB" for record in made)
    return line + (f" · FAILED: {', '.join(failed)}" if failed else "")


def _graph(context: Context, data: Data) -> tuple[Path, list[str], list[str]]:
    """Return the graph that variants are converted from, the types of the model's layers, and which of them stay
    loops, each with why."""
    model = context.model()
    if model.suffix == ".tflite":
        kinds = sorted(tflite_file.operators(model.read_bytes()))
        return model, kinds, [kind for kind in kinds if kind == "WHILE"]
    graph = context.work / "graph"
    shutil.rmtree(graph, ignore_errors=True)
    context.progress(0, "tracing the graph")
    return graph, *workers.isolated(trace, model, data, graph, what="compress: tracing the model")


def _recurrent(layers: list[str]) -> list[str]:
    """Return which types of layers go through a sequence step by step."""
    return [layer for layer in layers if layer in ("RNN", "SimpleRNN", "Bidirectional")
            or layer.startswith("ConvLSTM") or layer.endswith(("LSTM", "GRU"))]


def _instead(variant: Variant, loops: list[str]) -> str:
    """Return what can be made in place of an integer variant of layers that stay loops; "" where none does."""
    if not loops or not ENCODINGS[variant.encoding].calibrated:
        return ""
    others = f", nor of {len(loops) - 1} more" if len(loops) > 1 else ""
    return (f": TensorFlow makes no integer form of the loop that stays of {loops[0]}{others}; use float32, float16, "
            f"dynamic or int8_weights, or sequences of a known length of at most {unrolled.MOST_STEPS} steps")


def trace(model: Path, data: Data, graph: Path) -> tuple[list[str], list[str]]:
    """Write the graph that the variants are converted from; return the model's layer types, and which of its layers
    stay loops."""
    loaded = keras_file.load(model)
    convert.float_graph(loaded, device_functions(data), graph)
    types = {type(layer).__name__ for layer in loaded._flatten_layers(include_self=False)}
    layers = sorted(name for name in types if not name.endswith(("Cell", "Cells")))  # parts of recurrent layers
    return layers, fused.loops(loaded)


def _made(variant: Variant, shared: VariantContext, span: tuple[float, float], folder: Path) -> VariantRecord:
    """Return what was made of a variant, by an interrupted run or now. Raises StageError where it cannot be made."""
    work = shared.folder / variant.title
    if (work / RECORD).exists():
        return VariantRecord.model_validate_json((work / RECORD).read_bytes())
    journal = Journal(shared.journal.path, f"{variant.title}.")
    context = dataclasses.replace(shared, folder=work, journal=journal, span=span, details={})
    return workers.isolated(make, variant.written(), context, folder, what=f"compress {variant.title}")


def make(written: dict[str, Any], context: VariantContext, folder: Path) -> VariantRecord:
    """Make one variant's file in a folder."""
    variant: Variant = Variant.read(written)  # type: ignore[assignment]
    context.folder.mkdir(parents=True, exist_ok=True)
    try:
        record = variant.make(context, folder / f"{variant.title}.tflite")
    except ValueError as error:
        raise StageError(f"compress {variant.title}: {' '.join(str(error).split())[:500]}") from error
    if variant.explained:
        explain_layers(record.name, context, folder)
    write_whole(context.folder / RECORD, record.model_dump_json())
    return record


def explain_layers(name: str, context: VariantContext, folder: Path) -> None:
    """Write and draw how far each operator of a variant's file is from the trained model's, on validation examples."""
    inputs, _ = context.validation(EXPLAINED)
    content = (folder / f"{name}.tflite").read_bytes()
    try:
        errors = explain.layer_errors(content, context.exact(), inputs)
    except ValueError as error:
        context.journal.note(f"operators not compared: {error}")
        return
    if errors:
        (folder / layers_file(name)).write_text(explain.LayerErrors(errors=errors).model_dump_json(indent=1))
        compression.layers(errors, folder / f"layers_{name}.png")


def _journal(context: Context, record: VariantRecord) -> None:
    journal = Journal(context.journal.path, f"{record.name}.")
    journal.metrics({"bytes": record.bytes, "zipped": record.zipped})
    details = {name: value for name, value in record.details.items() if name not in ("rungs", RANGES)}
    journal.parameters({"summary": record.summary, **details})
    if digest := record.details.get("calibration_digest"):
        source = context.index().source
        context.journal.dataset(f"{source}/calibration", digest, record.details["calibration"], "calibration")
    for number, trial in enumerate(record.details.get("rungs", [])):
        journal.metrics({f"rung.{name}": trial[name] for name in ("drop", "bytes", "latency_ms")}, step=number)
