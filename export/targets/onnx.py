"""ONNX: a variant's TFLite file for ONNX Runtime, its integers as QDQ pairs, which mobile execution providers take."""
from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.tflite import signatures
from export.tflite.signatures import TensorInfo

with epy.lazy_imports():
    import numpy as np
    import onnx

#: What ONNX Runtime's mobile packages have known for long; DequantizeLinear per channel needs 13.
OPSET = 17


def convert(content: bytes, labels: Sequence[str] = ()) -> bytes:
    """Return a TFLite file as an ONNX file that gives the same answers.

    Its inputs and outputs have the names of the file's main signature. Images of raw pixels that the file takes as
    integers are taken as uint8; what is quantized otherwise, images of 0..1 too, is taken and given as float32.

    Args:
        content: of one example at a time.
        labels: class names, written into the file's metadata, if there are any.

    Raises:
        ValueError: an operator has no ONNX form.
    """
    _keep_biases()
    signature = signatures.main(content)
    model = _converted(content)
    graph = model.graph
    for infos, ends in ((signature.inputs, graph.input), (signature.outputs, graph.output)):
        _name(graph, infos, ends)
    roles = {tensor.name: tensor.role for tensor in signature.signature().inputs}
    for name, info in reversed(signature.inputs.items()):
        if info.scale and not info.stores_values:
            _quantize(graph, info, roles[name] == "image" and info.reaches_pixels)
    for info in signature.outputs.values():
        if info.scale:
            _dequantize(graph, info)
    _spell_out_gelu(graph)
    unknown = sorted({node.op_type.removeprefix("TFL_") for node in graph.node if node.op_type.startswith("TFL_")})
    if unknown:
        raise ValueError(f"tf2onnx has no ONNX form of {', '.join(unknown)}")
    _name_by_position(graph)
    model.producer_name = "litepress"
    graph.name = "model"
    if labels:
        onnx.helper.set_model_props(model, {"labels": "\n".join(labels)})
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def _converted(content: bytes) -> Any:
    """Return what tf2onnx makes of a TFLite file. Raises ValueError."""
    from tf2onnx import convert as tf2onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        try:
            return tf2onnx.from_tflite(str(path), opset=OPSET)[0]
        except Exception as error:
            raise ValueError(f"tf2onnx cannot convert it: {' '.join(str(error).split())[:200]}") from error


def _keep_biases() -> None:
    """Teach tf2onnx that a fully connected layer whose input has more than two axes has a bias too.

    Its own handler drops the bias where it flattens that input, so the input is flat before the handler sees it.
    """
    from tf2onnx import handler, utils
    from tf2onnx.tflite_handlers.tfl_math import TflFullyConnectedOp

    class FullyConnected:
        """The name and form that tf2onnx asks for."""

        @classmethod
        def to_tf(cls, graph: Any, node: Any, **settings: Any) -> None:
            if not node.attr["keep_num_dims"].i and graph.get_rank(node.input[0]) != 2:
                width = graph.get_shape(node.input[1])[1]
                shape = graph.make_const(utils.make_name("flat"), np.array([-1, width], np.int64))
                flat = graph.insert_new_node_on_input(node, "Reshape", [node.input[0], shape.output[0]], input_index=0)
                flat.skip_conversion = True
                graph.set_shape(flat.output[0], [-1, width])
            TflFullyConnectedOp.to_tf(graph, node, **settings)

    handler.tfl_op(["TFL_FULLY_CONNECTED"])(FullyConnected)


def _spell_out_gelu(graph: Any) -> None:
    """Write GELU as its formula: tf2onnx leaves it as it is, and ONNX has it from version 20 on."""
    nodes = []
    for number, node in enumerate(graph.node):
        nodes += _gelu(graph, node, f"gelu_{number}") if node.op_type == "TFL_GELU" else [node]
    if len(nodes) != len(graph.node):
        del graph.node[:]
        graph.node.extend(nodes)


def _gelu(graph: Any, node: Any, prefix: str) -> list[Any]:
    """Return the nodes of x / 2 (1 + erf(x / √2)), or of its approximation by tanh; the graph gets their constants.

    See Hendrycks and Gimpel 2016, "Gaussian Error Linear Units".
    """
    x, result = node.input[0], node.output[0]
    constants = {"half": 0.5, "one": 1.0, "root": 2 ** -0.5, "outer": (2 / np.pi) ** 0.5, "inner": 0.044715}
    names = {name: f"{prefix}_{name}" for name in (*constants, *(f"step{number}" for number in range(7)))}
    graph.initializer.extend(onnx.numpy_helper.from_array(np.array(value, "float32"), names[name])
                             for name, value in constants.items())
    steps = [("Mul", x, "root"), ("Erf", "step0")]
    if any(attribute.name == "approximate" and attribute.i for attribute in node.attribute):
        steps = [("Mul", x, x), ("Mul", "step0", x), ("Mul", "step1", "inner"), ("Add", "step2", x),
                 ("Mul", "step3", "outer"), ("Tanh", "step4")]
    nodes = [onnx.helper.make_node(kind, [names.get(name, name) for name in inputs], [names[f"step{number}"]])
             for number, (kind, *inputs) in enumerate(steps)]
    last = f"{prefix}_last"
    return [*nodes, onnx.helper.make_node("Add", [names[f"step{len(steps) - 1}"], names["one"]], [f"{last}_sum"]),
            onnx.helper.make_node("Mul", [f"{last}_sum", names["half"]], [last]),
            onnx.helper.make_node("Mul", [last, x], [result])]


def _name(graph: Any, infos: Mapping[str, TensorInfo], ends: Sequence[Any]) -> None:
    """Give inputs or outputs, which tf2onnx calls as the file's graph does, their names in the signature.

    Raises:
        ValueError: tf2onnx calls them otherwise.
    """
    names = {info.tensor_name: name for name, info in infos.items()}
    if {end.name for end in ends} != set(names):
        raise ValueError(f"tf2onnx calls {', '.join(end.name for end in ends)} what the file calls {', '.join(names)}")
    for old, new in names.items():
        if old != new:
            _rename(graph, new, f"{new}/inner")  # another tensor may have the name already
            _rename(graph, old, new)


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for number, name in enumerate(names):
                if name == old:
                    names[number] = new
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        if value.name == old:
            value.name = new


def _name_by_position(graph: Any) -> None:
    """Name nodes and tensors by where they stand, so that the same model is the same file.

    tf2onnx numbers them through the process.
    """
    constants = {value.name: value for value in graph.initializer}
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    for position, node in enumerate(graph.node):
        for own in node.input:
            names.setdefault(own, f"{node.op_type}_{position}_constant{len(names)}" if own else "")
        for number, own in enumerate(node.output):
            names.setdefault(own, f"{node.op_type}_{position}{f'_{number}' if number else ''}" if own else "")
        node.name = f"{node.op_type}_{position}"
        if not node.domain:
            node.ClearField("domain")  # which is left out or empty, as it happens
        node.input[:] = [names[own] for own in node.input]
        node.output[:] = [names[own] for own in node.output]
    del graph.initializer[:], graph.value_info[:]
    for own in [own for own in names if own in constants]:
        constants[own].name = names[own]
        graph.initializer.append(constants[own])


def _quantize(graph: Any, info: TensorInfo, pixels: bool) -> None:
    """Put the quantization of an input into the graph, before everything else.

    Args:
        pixels: it takes uint8, and float32 where not.
    """
    inner = _quantization(graph, info, [node.input for node in graph.node])
    end = next(value for value in graph.input if value.name == info.name)
    end.type.tensor_type.elem_type = onnx.TensorProto.UINT8 if pixels else onnx.TensorProto.FLOAT
    real = f"{info.name}_real" if pixels else info.name
    arguments = [real, f"{info.name}_scale", f"{info.name}_zero"]
    graph.node.insert(0, onnx.helper.make_node("QuantizeLinear", arguments, [inner]))
    if pixels:
        graph.node.insert(0, onnx.helper.make_node("Cast", [info.name], [real], to=onnx.TensorProto.FLOAT))


def _dequantize(graph: Any, info: TensorInfo) -> None:
    """Put what the numbers of an output stand for into the graph."""
    inner = _quantization(graph, info, [node.output for node in graph.node])
    end = next(value for value in graph.output if value.name == info.name)
    end.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    arguments = [inner, f"{info.name}_scale", f"{info.name}_zero"]
    graph.node.append(onnx.helper.make_node("DequantizeLinear", arguments, [info.name]))


def _quantization(graph: Any, info: TensorInfo, mentioned: Sequence[Any]) -> str:
    """Give a tensor another name wherever nodes mention it, and add its scale and zero point to the graph.

    Returns:
        The name.
    """
    inner = f"{info.name}_quantized"
    for names in mentioned:
        for number, own in enumerate(names):
            if own == info.name:
                names[number] = inner
    graph.initializer.extend([onnx.numpy_helper.from_array(np.array(info.scale, "float32"), f"{info.name}_scale"),
                              onnx.numpy_helper.from_array(np.array(info.zero, info.dtype), f"{info.name}_zero")])
    return inner
