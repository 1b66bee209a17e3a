"""Integers of models that are asked step by step: what the variants have in common that make such files, or loops of
them."""
from __future__ import annotations

import shutil

from etils import epy

from export.conversion import convert, fused, int8
from export.conversion.streaming import Streaming, StreamingError, streaming
from export.keras_models import graph
from export.predictors.litert import LiteRTPredictor
from export.predictors.streamed import StreamedPredictor
from export.signature import Arrays
from export.tflite import file as tflite_file
from export.tflite import loop
from pipelines.engine.store import whole
from pipelines.variants.settings import Calibration
from pipelines.variants.variant import VariantContext

with epy.lazy_imports():
    import keras
    import numpy as np

#: Calls that ranges are found with, at most.
CALLS = 2000
#: Steps that are still written out where a loop would do: a file grows with each.
SHORT = 32


def written(context: VariantContext, made: Streaming, encoding: str, calibration: Calibration | None = None) -> bytes:
    """Return a model that is asked step by step as a file.

    Args:
        calibration: whose sequences integer ranges are found with; the context's where not given.
    """
    folder = context.folder / "streaming"
    shutil.rmtree(folder, ignore_errors=True)
    convert.float_graph(made.model, lambda model: [graph.function(model, made.signature)], folder)
    if encoding not in ("int8", "int16x8"):
        return convert.convert(folder, encoding)
    exact = context.folder / "streaming.tflite"
    with whole(exact) as beside:
        beside.write_bytes(convert.convert(folder, "float32"))
    calls = [(made.signature.name, _calls(StreamedPredictor(LiteRTPredictor(exact)), context, calibration))]
    if encoding == "int16x8":
        return loop.with_one_coding(convert.convert(folder, "int16x8", calls))
    # what is added up in a cell is added in place, and its range would be taken for that of an addend
    calibrated = int8.calibrate(folder, calls, apart=True)
    return loop.with_one_coding(int8.quantize(int8.with_one_range(calibrated, made.states)))


def looped(context: VariantContext, calibration: Calibration | None) -> bytes | None:
    """Return the model as an int8 file whose recurrent layers go round in a loop of integers, and note it in the
    context's details; None where it has no layer that stays a loop, few steps, several signatures, layers that see the
    whole sequence, or some without an integer form."""
    if not context.recurrent or context.data.real_inputs:
        return None
    model = context.load()
    count = steps(model)
    if count is None or count <= SHORT or not fused.loops(model) or len(context.functions(model)) > 1:
        return None
    try:
        made = streaming(model)
    except StreamingError:
        return None
    content = loop.looped(written(context, made, "int8", calibration), count)
    if tflite_file.float_tensors(content):
        return None
    context.details["looped"] = True
    return content


def steps(model: keras.Model) -> int | None:
    """Return the steps of the sequence that a model takes; None where they vary, or it takes something else."""
    shape = model.inputs[0].shape
    return int(shape[1]) if len(model.inputs) == 1 and len(shape) > 1 and shape[1] is not None else None


def _calls(streamed: StreamedPredictor, context: VariantContext, calibration: Calibration | None) -> Arrays:
    """Return inputs of calls, some of those that the calibration's sequences make, and those that reach furthest."""
    calls = streamed.calls(context.inputs(calibration))
    count = len(next(iter(calls.values())))
    rows = [np.reshape(values, (count, -1)) for values in calls.values()]
    furthest = {int(np.argmax(extreme)) for values in rows for extreme in (values.max(axis=1), -values.min(axis=1))}
    some = np.random.default_rng(context.data.seed).permutation(count)[:CALLS]
    chosen = np.union1d(some, sorted(furthest))
    return {name: values[chosen] for name, values in calls.items()}
