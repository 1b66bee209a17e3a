"""TFLite files as phone frameworks open them: metadata inside, integer scores that MediaPipe Tasks can read, and
pictures as bytes."""
from __future__ import annotations

import copy
from typing import Any

from etils import epy

from export.tflite import edit, metadata, signatures
from export.tflite import file as tflite_file

with epy.lazy_imports():
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema


#: A byte of raw pixels stands for so much at least; of pixels 0..1 it stands for a 255th, and those of -1..1 do not
#: begin at 0.
DIMMEST = 0.1
#: What generators call the pictures that they make, pixels 0..255, in any signature.
PICTURES = ("generated", "returned")


def ready(content: bytes, about: metadata.Description, rgb: bool = True) -> bytes:
    """Return the same model with metadata, which takes images as their bytes, and gives pictures as theirs; where it
    gives a single int8 output, that is uint8.

    Args:
        content: a TFLite file.
        about: what it says of itself.
        rgb: a model whose only input is a grey image takes RGB, and averages it.

    Raises:
        ValueError: the labels do not fit.
    """
    content = with_raw_pixels(with_unsigned_output(with_raw_pictures(content)), about)
    if rgb and takes_grey_image(content, about):
        content = with_rgb_input(content)
    return metadata.embed(content, about)


def with_raw_pixels(content: bytes, about: metadata.Description) -> bytes:
    """Return the same model, whose images of raw pixels are stored as they are: each byte stands for itself.

    Calibration gives an image the range that it has seen, up to the brightest pixel, say 217, by which a byte stands
    for 217 / 255 of itself. MediaPipe hands bytes over whatever a file says of them. What is brighter than the
    brightest pixel of calibration still counts as that.
    """
    model, main = tflite_file.read(content), signatures.main(content)
    graph = model.subgraphs[main.subgraph]
    changed = False
    for info in main.inputs.values():
        is_dim = info.dtype == "uint8" and info.zero == 0 and DIMMEST <= (info.scale or 0) < 1
        if about.tensor(info).role != "image" or not is_dim:
            continue
        readers = [operator for operator in graph.operators if info.index in map(int, operator.inputs)]
        if all(tflite_file.operator_name(model, operator) == "QUANTIZE" for operator in readers):
            stored = schema.QuantizationParametersT()
            stored.scale, stored.zeroPoint = np.array([1.0], "float32"), np.array([0], "int64")
            graph.tensors[info.index].quantization = stored
            changed = True
    return tflite_file.write(model) if changed else content


def with_raw_pictures(content: bytes) -> bytes:
    """Return the same model, whose int8 pictures are uint8 of scale 1: each byte is the brightness of a pixel.

    A file that makes pictures may have several signatures, and each of their pictures is changed.
    """
    model = tflite_file.read(content)
    changed = False
    for signature in signatures.of(content).values():
        for info in signature.outputs.values():
            if info.name in PICTURES and info.dtype == "int8" and len(info.shape) == 4:
                give_unsigned(model, signature.subgraph, info.index, 1.0, 0)
                changed = True
    return tflite_file.write(model) if changed else content


def takes_grey_image(content: bytes, about: metadata.Description) -> bool:
    """Return whether a file's only input is an image of one channel."""
    inputs = list(signatures.main(content).inputs.values())
    return len(inputs) == 1 and about.tensor(inputs[0]).role == "image" and inputs[0].shape[-1] == 1


def with_rgb_input(content: bytes) -> bytes:
    """Return the same model, averaging the three colours of its input where it took grey images.

    Cameras give RGB, and MediaPipe's image tasks refuse anything else. A grey image that is repeated to three channels
    gets the same answer.
    """
    model = tflite_file.read(content)
    graph = model.subgraphs[0]
    inner = int(graph.inputs[0])
    grey = graph.tensors[inner]
    if len(graph.inputs) != 1 or grey.shape is None or len(grey.shape) != 4 or int(grey.shape[-1]) != 1:
        return content
    outer = copy.copy(grey)
    outer.shape, outer.shapeSignature = np.array([*grey.shape[:3], 3], "int32"), None
    grey.name = grey.name + b"/grey"
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.array([3], "int32").tobytes(), "uint8")
    model.buffers.append(buffer)
    axis = schema.TensorT()
    axis.name, axis.shape, axis.type = b"colours", np.array([1], "int32"), schema.TensorType.INT32
    axis.buffer, axis.hasRank, axis.isVariable = len(model.buffers) - 1, True, False
    graph.tensors += [outer, axis]
    index = len(graph.tensors) - 2
    operator = schema.OperatorT()
    operator.opcodeIndex = tflite_file.operator_code(model, schema.BuiltinOperator.MEAN)
    operator.inputs, operator.outputs = [index, index + 1], [inner]
    operator.builtinOptionsType = schema.BuiltinOptions.ReducerOptions
    operator.builtinOptions = schema.ReducerOptionsT()
    operator.builtinOptions.keepDims = True
    graph.operators = [operator, *graph.operators]
    graph.inputs = [index]
    edit.point_signatures(model, inner, index)
    return tflite_file.write(model)


def with_unsigned_output(content: bytes) -> bytes:
    """Return the same model, its only output uint8 where it was int8; what the numbers stand for stays the same.

    MediaPipe's tasks read float32 and uint8 alone.
    """
    model = tflite_file.read(content)
    graph = model.subgraphs[0]
    inner = int(graph.outputs[0])
    signed = graph.tensors[inner]
    if len(graph.outputs) != 1 or signed.type != schema.TensorType.INT8:
        return content
    give_unsigned(model, 0, inner, float(signed.quantization.scale[0]), int(signed.quantization.zeroPoint[0]) + 128)
    return tflite_file.write(model)


def give_unsigned(model: Any, subgraph: int, inner: int, scale: float, zero: int) -> None:
    """Put a uint8 tensor behind an int8 one that a graph gives, in place.

    Args:
        scale, zero: of the new one.
    """
    graph = model.subgraphs[subgraph]
    signed = graph.tensors[inner]
    outer = copy.copy(signed)
    outer.type, outer.buffer, outer.quantization = schema.TensorType.UINT8, 0, copy.copy(signed.quantization)
    outer.quantization.scale, outer.quantization.zeroPoint = np.array([scale], "float32"), np.array([zero], "int64")
    signed.name = signed.name + b"/int8"
    graph.tensors.append(outer)
    index = len(graph.tensors) - 1
    graph.operators.append(edit.operator_of(model, "QUANTIZE", "Quantize", [inner], index))
    graph.outputs = [index if int(one) == inner else int(one) for one in graph.outputs]
    edit.point_signatures(model, inner, index, subgraph)
