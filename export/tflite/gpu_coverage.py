"""LiteRT's GPU delegate: which operators of a TFLite file it runs.

The rules are those of the delegate's own check (tensorflow/lite/tools/versioning/gpu_compatibility.cc, as of TensorFlow
2.21). The analyzer in TensorFlow's and LiteRT's packages is built without them and calls every model compatible, so
they are looked up here.
"""
from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from export.artifacts import Coverage, Unsupported
from export.tflite import file as tflite_file

#: Operators that the delegate runs whatever their settings.
PLAIN = {"ABS", "ATAN2", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CEIL", "CONCATENATION", "CONV_2D", "COS", "CUMSUM",
         "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV", "ELU", "EQUAL", "EXP", "FLOOR", "FLOOR_DIV", "FLOOR_MOD", "GELU",
         "GREATER", "GREATER_EQUAL", "HARD_SWISH", "LEAKY_RELU", "LESS", "LESS_EQUAL", "LOG", "LOGICAL_AND",
         "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MINIMUM", "NEG", "NOT_EQUAL", "PACK", "POW", "PRELU", "QUANTIZE",
         "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SIGN",
         "SIN", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "SUB",
         "TANH", "TILE", "TRANSPOSE", "TRANSPOSE_CONV"}
#: Those that it runs where none of the `RULES` speaks against it.
CHECKED = {"ADD", "CAST", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "GATHER", "MEAN", "MIRROR_PAD", "MUL", "ONE_HOT",
           "PAD", "PADV2", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SELECT", "SELECT_V2", "SLICE", "STRIDED_SLICE",
           "SUM"}
#: Operators that take tensors of more than four dimensions.
ANY_RANK = {"RESHAPE", "TRANSPOSE"}


@dataclasses.dataclass(frozen=True)
class _Use:
    """An operator where it stands in a graph."""

    model: Any
    graph: Any
    operator: Any

    @functools.cached_property
    def inputs(self) -> list[Any]:
        return [self.graph.tensors[int(index)] for index in self.operator.inputs if int(index) >= 0]

    @functools.cached_property
    def outputs(self) -> list[Any]:
        return [self.graph.tensors[int(index)] for index in self.operator.outputs if int(index) >= 0]

    @functools.cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of its inputs."""
        return [tflite_file.shape(tensor) for tensor in self.inputs]

    @property
    def rank(self) -> int:
        """Of its first input."""
        return len(self.shapes[0])

    @property
    def options(self) -> Any:
        return self.operator.builtinOptions


def _multiplies_depth(use: _Use) -> bool:
    return use.options.depthMultiplier != 1 and use.shapes[0][-1] != 1


def _neither_contains_the_other(use: _Use) -> bool:
    if len(use.shapes) != 2 or len(use.shapes[0]) != len(use.shapes[1]):
        return False
    sizes = list(zip(*use.shapes, strict=True))
    return any(one < other for one, other in sizes) and any(one > other for one, other in sizes)


def _changes_rank(use: _Use) -> bool:
    return use.options.keepNumDims and use.rank != len(tflite_file.shape(use.outputs[0]))


def _gathers_unusually(use: _Use) -> bool:
    return len(use.shapes[1]) != 1 or tflite_file.dtype(use.inputs[0]) == "int32"


def _moves_axes(use: _Use) -> bool:
    return any((use.options.ellipsisMask, use.options.newAxisMask, use.options.shrinkAxisMask))


#: Operators, what the delegate does not take of them, and what to do about it.
RULES: Sequence[tuple[set[str], Callable[[_Use], Any], str]] = (
    ((PLAIN | CHECKED) - ANY_RANK,
     lambda use: any(len(tflite_file.shape(tensor)) > 4 for tensor in (*use.inputs, *use.outputs)),
     "it has a tensor of more than four dimensions; fold two of them with a reshape"),
    ({"ADD", "MUL"}, _neither_contains_the_other,
     "neither of its tensors is at least as large as the other in every dimension; write it as a 1 x 1 convolution"),
    ({"DEPTHWISE_CONV_2D"}, _multiplies_depth,
     "its depth multiplier is not 1; use a convolution with groups, or a multiplier of 1"),
    ({"FULLY_CONNECTED"}, _changes_rank,
     "it changes the number of dimensions; flatten before the dense layer"),
    ({"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"},
     lambda use: not tflite_file.is_constant(use.model, use.inputs[1]),
     "its axes are computed; they must be constant"),
    ({"GATHER"}, _gathers_unusually,
     "it takes one-dimensional indices into numbers that are not int32; use slices"),
    ({"PAD", "PADV2", "MIRROR_PAD"}, lambda use: use.shapes[1][0] not in (3, 4),
     "it pads a tensor that has not three or four dimensions; reshape it first"),
    ({"SLICE", "STRIDED_SLICE"}, lambda use: use.rank not in (3, 4),
     "it cuts a tensor that has not three or four dimensions; reshape it first"),
    ({"STRIDED_SLICE"}, _moves_axes,
     "it adds or drops an axis while it cuts; write x[:, 0:1] and a reshape instead of x[:, 0]"))


def coverage(content: bytes) -> Coverage:
    """Return how much of a TFLite file the delegate runs, and why not the rest, with what would run in its place."""
    model = tflite_file.read(content)
    graph, unsupported = model.subgraphs[0], []
    for operator in graph.operators:
        name = tflite_file.operator_name(model, operator)
        reason = _refusal(name, _Use(model, graph, operator))
        if reason:
            layer = tflite_file.layer_name(graph.tensors[int(operator.outputs[0])].name.decode())
            unsupported.append(Unsupported(operator=name, layer=layer, reason=reason))
    total = len(graph.operators)
    return Coverage(accelerator="LiteRT GPU delegate", taken=total - len(unsupported), total=total, left=unsupported)


def _refusal(name: str, use: _Use) -> str:
    """Return why the delegate does not run an operator; empty where it does."""
    if name not in PLAIN and name not in CHECKED:
        return "the delegate does not know it"
    return next((reason for operators, refuses, reason in RULES if name in operators and refuses(use)), "")
