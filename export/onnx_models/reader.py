"""ONNX files: what is in them, and whether all of it can be read."""
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from etils import epy

from export.errors import first_line
from export.onnx_models import (  # noqa: F401  each registers its operators
    convolution,
    elementwise,
    matrices,
    normalization,
    pooling,
    reductions,
    resizing,
    shaping,
)
from export.onnx_models.numbers import array_of, type_of
from export.onnx_models.registry import OPERATORS
from export.signature import shown

with epy.lazy_imports():
    import numpy as np

#: Of their files.
ENDING = ".onnx"
#: The order of the axes of images in what a file for phones takes and gives, where that is turned.
Layout = Literal["nhwc"]
#: Names of the operators that ONNX itself defines.
OWN_DOMAINS = ("", "ai.onnx")
#: The oldest version of the operators that is read.
OLDEST = 7
#: Where it is said which operators are read.
PAGE = "docs/frameworks.md"


@dataclasses.dataclass(frozen=True)
class Input:
    """What a model takes.

    Args:
        shape: with the batch, as ONNX has it; None where the batch may be of any size.
        dtype: TensorFlow's type.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: Any


@dataclasses.dataclass(frozen=True)
class ONNXModel:
    """A file that can be read.

    Args:
        graph: its nodes, functions of its own written out.
        constants: arrays by name.
        outputs: names.
        opset: version of the operators.
    """

    graph: Any
    constants: dict[str, np.ndarray]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    opset: int


def read(path: Path) -> ONNXModel:
    """Return what is in an ONNX file.

    Raises:
        ValueError: it is damaged, has an operator that is not read, sizes that are left open beside the batch, or
            numbers that are quantized; or onnx is not installed.
    """
    model = _parsed(path)
    unknown = sorted({f"{node.domain}.{node.op_type}" if node.domain not in OWN_DOMAINS else node.op_type
                      for node in model.graph.node if node.domain not in OWN_DOMAINS or node.op_type not in OPERATORS})
    if quantized := [name for name in unknown if "quantize" in name.lower() or name.startswith("QLinear")]:
        raise ValueError(f"{path} is quantized already ({quantized[0]}); give the float model")
    if unknown:
        raise ValueError(f"{path} has the operator{'s' * (len(unknown) > 1)} {', '.join(unknown)}, which "
                         f"{'are' if len(unknown) > 1 else 'is'} not read; those that are: {PAGE}")
    opset = max((one.version for one in model.opset_import if one.domain in OWN_DOMAINS), default=1)
    if opset < OLDEST:
        raise ValueError(f"{path} is of version {opset} of ONNX' operators; {OLDEST} and later are read. Export it "
                         "anew")
    return model_of(model, opset, path)


def model_of(model: Any, opset: int, path: Path) -> ONNXModel:
    """Return a parsed file as what is played. Raises ValueError as `read` does."""
    graph = model.graph
    try:
        constants = {one.name: array_of(one) for one in graph.initializer}
    except Exception as error:  # whatever a damaged file makes of NumPy
        raise ValueError(f"{path} has an array that cannot be read: {first_line(error)}") from error
    inputs = tuple(_input(value, path) for value in graph.input if value.name not in constants)
    if not inputs or not graph.output:
        raise ValueError(f"{path} is not a model: it takes or gives nothing")
    return ONNXModel(graph, constants, inputs, tuple(value.name for value in graph.output), opset)


def _parsed(path: Path) -> Any:
    """Return a file's content, checked, with its own functions written out. Raises ValueError."""
    try:
        import onnx.inliner
    except ImportError:
        raise ValueError(f"{path}: onnx is not installed; .venv/bin/pip install -e '.[onnx]' brings it") from None
    try:
        model = onnx.load(str(path))
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        if not model.graph.node:
            raise ValueError("it has no nodes")
        for value in model.graph.output:  # some writers leave out what the checker wants, and nobody needs
            if value.type.WhichOneof("value") == "tensor_type":
                value.type.tensor_type.shape.SetInParent()
        onnx.checker.check_model(model if model.ByteSize() < 2 ** 31 else str(path))
        return model
    except Exception as error:  # of several classes of its own, and of what reads protocol buffers
        raise ValueError(f"{path} cannot be read as an ONNX model: {first_line(error)}") from error


def _input(value: Any, path: Path) -> Input:
    """Return what a graph says of an input. Raises ValueError."""
    if value.type.WhichOneof("value") != "tensor_type" or not value.type.tensor_type.HasField("shape"):
        raise ValueError(f"{path} takes {value.name}, which is not a tensor of a known number of axes")
    kind = value.type.tensor_type
    sizes = tuple(one.dim_value if one.HasField("dim_value") and one.dim_value > 0 else None for one in kind.shape.dim)
    names = [one.dim_param or "?" if size is None else str(size) for one, size in
             zip(kind.shape.dim, sizes, strict=True)]
    if not sizes:
        raise ValueError(f"{path} takes {value.name}, one number for all examples; make it a constant of the model")
    if None in sizes[1:]:
        left = [name for name, size in zip(names[1:], sizes[1:], strict=True) if size is None]
        raise ValueError(f"{path} takes {value.name} ({', '.join(names)}), whose {' and '.join(left)} "
                         f"{'are' if len(left) > 1 else 'is'} open; files for phones have fixed sizes, only the batch "
                         "may be open. Export it for one size, or fix it: python -m "
                         "onnxruntime.tools.make_dynamic_shape_fixed")
    if sizes[0] not in (None, 1):
        raise ValueError(f"{path} takes {value.name} {shown(sizes)} in batches of {sizes[0]} examples alone; export it "
                         "for one, or for any number")
    return Input(value.name, sizes, type_of(kind.elem_type))
