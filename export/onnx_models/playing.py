"""An ONNX graph, node by node, as operations of TensorFlow."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etils import epy

from export.errors import first_line
from export.onnx_models import rewriting
from export.onnx_models.reader import ONNXModel
from export.onnx_models.registry import OPERATORS, Node
from export.onnx_models.values import Value

with epy.lazy_imports():
    import numpy as np
    import onnx
    import tensorflow as tf


def play(model: ONNXModel, inputs: Mapping[str, Value]) -> dict[str, Value]:
    """Return what a model gives, by the names of its outputs.

    What depends on constants alone, and on sizes that are known, is computed once, here.

    Raises:
        ValueError: a node cannot be read as it is set.
    """
    values: dict[str, Value | None] = {"": None}
    values |= {name: Value(array) for name, array in model.constants.items()}
    values |= inputs
    for node in rewriting.with_gelu(model.graph, model.constants):
        title = f"its node {node.name or node.output[0]} ({node.op_type})"
        try:
            given = [values[name] for name in node.input]
            made = _made(node, given, model.opset)
        except KeyError as error:
            raise ValueError(f"{title} takes {error}, which no node before it gives") from error
        except Exception as error:  # whatever TensorFlow makes of sizes that do not fit
            raise ValueError(f"{title} cannot be read: {first_line(error)}") from error
        values |= dict(zip(node.output, made, strict=False))
    missing = [name for name in model.outputs if values.get(name) is None]
    if missing:
        raise ValueError(f"its output {missing[0]} is given by no node")
    return {name: value for name in model.outputs if (value := values[name]) is not None}


def _made(proto: Any, given: list[Value | None], opset: int) -> list[Value]:
    """Return the outputs of a node."""
    node = Node(proto.op_type, {one.name: _setting(one) for one in proto.attribute}, tuple(proto.output), opset)
    while given and given[-1] is None:
        given.pop()
    if any(value is not None and value.constant is None for value in given):
        return _listed(OPERATORS[node.kind](node, *given))
    with tf.init_scope():
        return [_constant(value) for value in _listed(OPERATORS[node.kind](node, *given))]


def _listed(made: Value | list[Value]) -> list[Value]:
    return [made] if isinstance(made, Value) else made


def _constant(value: Value) -> Value:
    array = value.first
    return Value(np.asarray(array), positive=value.positive)


def _setting(attribute: Any) -> Any:
    """Return what an attribute holds, text as text."""
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return list(value) if isinstance(value, (list, tuple)) else value
