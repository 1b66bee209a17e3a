"""LiteRT's GPU delegate: which operators of a TFLite file it runs.

The rules are those of the delegate's own check (tensorflow/lite/tools/versioning/gpu_compatibility.cc, as of TensorFlow 2.21). The
analyzer in TensorFlow's and LiteRT's packages is built without them and calls every model compatible, so they are looked up here.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

from etils import epy

from export.artifacts import Coverage, Unsupported
from export.predictors import in_colours
from export.tflite import file as tflite_file
from export.tflite import signatures

with epy.lazy_imports():
    import numpy as np

#: Operators that the delegate runs whatever their settings.
PLAIN = {"ABS", "ATAN2", "AVERAGE_POOL_2D", "CEIL", "CONCATENATION", "COS", "CUMSUM", "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV", "ELU", "EQUAL",
         "EXP", "FLOOR", "FLOOR_DIV", "FLOOR_MOD", "GELU", "GREATER", "GREATER_EQUAL", "HARD_SWISH", "LEAKY_RELU", "LESS", "LESS_EQUAL",
         "LOG", "LOGICAL_AND", "LOGISTIC", "MAX_POOL_2D", "MAXIMUM", "MINIMUM", "NEG", "NOT_EQUAL", "PACK", "POW", "PRELU", "QUANTIZE",
         "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SIGN", "SIN", "SOFTMAX", "SPACE_TO_DEPTH",
         "SPLIT", "SPLIT_V", "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "SUB", "TANH", "TILE", "TRANSPOSE", "TRANSPOSE_CONV", "CONV_2D",
         "BATCH_MATMUL", "RESIZE_BILINEAR"}
CHECKED = {"ADD", "MUL", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "GATHER", "MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "PAD",
           "PADV2", "MIRROR_PAD", "SLICE", "STRIDED_SLICE", "CAST", "SELECT", "SELECT_V2", "ONE_HOT"}


def coverage(content: bytes) -> Coverage:
    """How much of a TFLite file the delegate runs, and why not the rest, with what would run in its place."""
    model = tflite_file.read(content)
    graph, left, total = model.subgraphs[0], [], 0
    for operator in graph.operators:
        name = tflite_file.operator_name(model, operator)
        total += 1
        reason = _refusal(model, graph, operator, name)
        if reason:
            layer = tflite_file.layer_name(graph.tensors[int(operator.outputs[0])].name.decode())
            left.append(Unsupported(operator=name, layer=layer, reason=reason))
    return Coverage(accelerator="LiteRT GPU delegate", taken=total - len(left), total=total, left=left)


def _refusal(model: Any, graph: Any, operator: Any, name: str) -> str:
    if name not in PLAIN and name not in CHECKED:
        return "the delegate does not know it"
    given = [graph.tensors[int(place)] for place in operator.inputs if int(place) >= 0]
    shapes = [_shape(tensor) for tensor in given]
    if any(len(_shape(graph.tensors[int(place)])) > 4 for place in (*operator.inputs, *operator.outputs) if int(place) >= 0) and (
            name not in ("RESHAPE", "TRANSPOSE")):
        return "it has a tensor of more than four dimensions; fold two of them with a reshape"
    if name in ("ADD", "MUL") and len(shapes) == 2 and not _one_holds_the_other(*shapes):
        return "neither of its tensors is at least as large as the other in every dimension; write it as a 1 x 1 convolution"
    if name == "DEPTHWISE_CONV_2D" and operator.builtinOptions.depthMultiplier != 1 and shapes[0][-1] != 1:
        return "its depth multiplier is not 1; use a convolution with groups, or a multiplier of 1"
    if name == "FULLY_CONNECTED" and operator.builtinOptions.keepNumDims and len(shapes[0]) != len(
            _shape(graph.tensors[int(operator.outputs[0])])):
        return "it changes the number of dimensions; flatten before the dense layer"
    if name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD") and not _is_constant(model, given[1]):
        return "its axes are computed; they must be constant"
    if name == "GATHER" and (len(shapes[1]) != 1 or tflite_file.dtypes().get(given[0].type) == "int32"):
        return "it takes one-dimensional indices into numbers that are no int32; use slices"
    if name in ("PAD", "PADV2", "MIRROR_PAD") and shapes[1][0] not in (3, 4):
        return "it pads a tensor that has not three or four dimensions; reshape it first"
    if name in ("SLICE", "STRIDED_SLICE") and len(shapes[0]) not in (3, 4):
        return "it cuts a tensor that has not three or four dimensions; reshape it first"
    if name == "STRIDED_SLICE" and any((operator.builtinOptions.ellipsisMask, operator.builtinOptions.newAxisMask,
                                        operator.builtinOptions.shrinkAxisMask)):
        return "it adds or drops an axis while it cuts; write x[:, 0:1] and a reshape instead of x[:, 0]"
    return ""


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(map(int, tensor.shape)) if tensor.shape is not None else ()


def _one_holds_the_other(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    if len(one) != len(other):
        return True
    smaller = any(a < b for a, b in zip(one, other, strict=True))
    larger = any(a > b for a, b in zip(one, other, strict=True))
    return not (smaller and larger)


def _is_constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def answers(path: Path, images: np.ndarray) -> np.ndarray:
    """The logits (examples, classes) of a float TFLite file on this machine's GPU, through LiteRT's own accelerator.

    Any Vulkan driver will do, a software one too: VK_DRIVER_FILES names it.

    Args:
        path: the file.
        images: raw pixels, uint8 (examples, height, width, channels).

    Raises:
        ValueError: there is no GPU and no Vulkan driver, or the accelerator does not take the whole model.
    """
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator

    try:
        model = CompiledModel.from_file(str(path), HardwareAccelerator.GPU)
    except RuntimeError as error:
        raise ValueError("LiteRT's GPU accelerator does not start: there is no GPU that it knows, nor a software one. A Vulkan driver such "
                         "as SwiftShader, named in VK_DRIVER_FILES, would do") from error
    if not model.is_fully_accelerated():
        raise ValueError(f"{path}: the GPU takes only a part of it")
    given, answered = model.create_input_buffers(0), model.create_output_buffers(0)
    known = signatures.of(path.read_bytes())
    found, size = [], int(np.prod(known.output.shape))
    for image in in_colours(images, known.input.shape):
        given[0].write(image.astype("float32").ravel())
        model.run_by_index(0, given, answered)
        found.append(answered[0].read(size, np.float32))
    return np.stack(found)
