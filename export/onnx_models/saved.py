"""ONNX files as SavedModels, and asked in ONNX Runtime."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epy

from export.frameworks.program import Program
from export.keras_models.imported import plain
from export.onnx_models.playing import play
from export.onnx_models.reader import Input, Layout, read
from export.onnx_models.values import Value, permuted, to_first, to_last
from export.predictors.onnx import ONNXPredictor
from export.signature import DEFAULT

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Axes of what a layout turns: images.
IMAGES = 4


def export(path: Path, folder: Path, layout: Layout | None = None, batch: int | None = None) -> None:
    """Write an ONNX file as a SavedModel, whose inputs and outputs have the names of the file's, as files for phones
    take them.

    Args:
        folder: to be made.
        layout: nhwc takes and gives what has four axes channels last.
        batch: how many examples at a time; any number where not given and the file leaves it open.

    Raises:
        ValueError: it cannot be read, see `export.onnx_models.reader.read`.
    """
    model = read(path)
    names = {one.name: plain(one.name) for one in model.inputs}
    if len(set(names.values())) < len(names) or len(set(map(plain, model.outputs))) < len(model.outputs):
        raise ValueError(f"{path} has two inputs or two outputs of one name")
    specifications = [tf.TensorSpec(_shape(one, layout, batch), one.dtype, plain(one.name)) for one in model.inputs]

    def call(**given: Any) -> dict[str, Any]:
        inputs = {}
        for own, name in names.items():
            turned = layout is not None and len(given[name].shape) == IMAGES
            inputs[own] = Value(last=given[name]) if turned else Value(given[name])
        outputs = play(model, inputs)
        return {plain(name): _given(value, layout) for name, value in outputs.items()}

    module = tf.Module()
    module.call = tf.function(call, autograph=False)
    try:
        function = module.call.get_concrete_function(**{spec.name: spec for spec in specifications})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    for name, tensor in function.structured_outputs.items():
        if not tensor.shape.rank or tensor.shape[0] not in (None, specifications[0].shape[0]):
            raise ValueError(f"{path} gives {name} {tuple(tensor.shape)}, which is not one for each example")
    tf.saved_model.save(module, str(folder), signatures={DEFAULT: function})


@dataclasses.dataclass(frozen=True)
class ONNXFile:
    """An ONNX file, asked in ONNX Runtime.

    Args:
        path: the file.
    """

    path: Path

    def answers(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what it answers, see `export.frameworks.program.Program`."""
        predictor = ONNXPredictor(self.path)
        given = {tensor.name: inputs[plain(tensor.name)] for tensor in predictor.signatures[DEFAULT].inputs}
        try:
            answered = predictor.predict(given)
        except Exception as error:  # of ONNX Runtime's own classes
            raise ValueError(str(error)) from error
        return {plain(name): array for name, array in answered.items()}


def answers(program: Program, inputs: Mapping[str, np.ndarray], layout: Layout | None = None) -> dict[str, np.ndarray]:
    """Return what a program with channels first answers, by plain names, in a layout.

    Args:
        inputs: by plain names, in that layout.

    Raises:
        ValueError: its library is not here, or it does not take them.
    """
    answered = program.answers({name: _ordered(array, to_first(IMAGES), layout) for name, array in inputs.items()})
    return {name: _ordered(array, to_last(IMAGES), layout) for name, array in answered.items()}


def _ordered(array: np.ndarray, order: tuple[int, ...], layout: Layout | None) -> np.ndarray:
    return permuted(array, order) if layout is not None and array.ndim == IMAGES else array


def _shape(one: Input, layout: Layout | None, batch: int | None) -> list[int | None]:
    shape = [one.shape[0] or batch, *one.shape[1:]]
    return [shape[axis] for axis in to_last(IMAGES)] if layout is not None and len(shape) == IMAGES else shape


def _given(value: Value, layout: Layout | None) -> Any:
    if layout is not None and len(value.shape) == IMAGES:
        return tf.identity(value.last)
    return tf.identity(value.first)
