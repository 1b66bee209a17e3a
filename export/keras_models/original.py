"""A model made elsewhere, asked as it is in the library that saved it: what everything made of it is held against."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.frameworks.program import Program
from export.keras_models import as_graph
from export.keras_models import file as keras_file
from export.keras_models.load import load_original
from export.onnx_models.reader import Layout

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf

#: Examples that are asked at once.
BATCH = 32


def answers(path: Path, inputs: Sequence[np.ndarray], is_graph: bool = False,
            allow_code: bool = False, layout: Layout | None = None,
            program: Program | None = None) -> list[np.ndarray]:
    """Return what a model answers, output by output, in its own library.

    Args:
        path: looked at by `foreign_code.check` before.
        inputs: (examples, …) each, in the order of the model's inputs.
        is_graph: it is taken as one, see `as_graph.layer_by_layer`, which reads it; this does not again.
        allow_code: let its code run: for a process of its own.
        layout: in which an .onnx file is asked, see `export.onnx_models.saved.export`.
        program: see `as_graph.answers`.

    Raises:
        ValueError: it cannot be read, or does not take these inputs.
    """
    if is_graph:
        return as_graph.answers(path, inputs, allow_code, layout, program)
    model = load_original(path)
    parts: list[list[np.ndarray]] = []
    try:
        for start in range(0, len(inputs[0]), BATCH):
            batch = [tf.constant(values[start:start + BATCH]) for values in inputs]
            outputs = keras.tree.flatten(model(_as_taken(model, batch), training=False))
            parts.append([np.asarray(keras.ops.cast(output, "float32") if output.dtype in (tf.float16, tf.bfloat16)
                                     else output) for output in outputs])
    except (tf.errors.OpError, ValueError, TypeError) as error:
        raise ValueError(f"{path} does not take these inputs: {keras_file.why_unreadable(error)}") from error
    return [np.concatenate(values) for values in zip(*parts, strict=True)]


def _as_taken(model: Any, tensors: Sequence[Any]) -> Any:
    """Return tensors in the structure of a model's inputs, of either library: one, a list, or a dict by name."""
    if len(tensors) == 1 and not isinstance(getattr(model, "input", None), (dict, list, tuple)):
        return tensors[0]
    structure = getattr(model, "_nested_inputs", None)
    return keras.tree.pack_sequence_as(model.input if structure is None else structure, list(tensors))
