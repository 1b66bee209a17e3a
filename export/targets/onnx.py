"""ONNX: a variant's TFLite file for ONNX Runtime, its integers as QDQ pairs, which mobile execution providers take."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.predictors import IMAGE, LOGITS
from export.tflite import signatures

with epy.lazy_imports():
    import numpy as np
    import onnx

#: What ONNX Runtime's mobile packages have known for long; DequantizeLinear per channel needs 13.
OPSET = 17


def convert(content: bytes, labels: Sequence[str]) -> bytes:
    """A TFLite file as an ONNX file that gives the same answers.

    Args:
        content: of one picture at a time.
        labels: class names, written into the file's metadata.

    Returns:
        The file. It takes `image`, raw pixels 0..255 (1, height, width, channels), float32, or uint8 where the TFLite file is an
        integer one, and gives `logits`, float32 (1, classes).

    Raises:
        ValueError: an operator has no ONNX form.
    """
    import tempfile

    from tf2onnx import convert as tf2onnx

    _keep_biases()
    found = signatures.of(content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        try:
            model, _ = tf2onnx.from_tflite(str(path), opset=OPSET)
        except Exception as error:
            raise ValueError(f"tf2onnx cannot convert it: {' '.join(str(error).split())[:200]}") from error
    graph = model.graph
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise ValueError("it must take one picture and give one output")
    _rename(graph, graph.input[0].name, IMAGE)
    _take_pixels(graph, found.input)
    _rename(graph, graph.output[0].name, LOGITS)
    _give_real_numbers(graph, found.output)
    _spell_out_gelu(graph)
    left = sorted({node.op_type.removeprefix("TFL_") for node in graph.node if node.op_type.startswith("TFL_")})
    if left:
        raise ValueError(f"tf2onnx has no ONNX form of {', '.join(left)}")
    _name_by_place(graph)
    model.producer_name, graph.name = "litepress", "model"
    onnx.helper.set_model_props(model, {"labels": "\n".join(labels)})
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def _keep_biases() -> None:
    """Teaches tf2onnx that a fully connected layer whose input has more than two axes has a bias too: its own handler drops it where it
    flattens that input, so the input is flat before the handler sees it."""
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
    """GELU as its formula, which tf2onnx leaves as it is and ONNX has from version 20 on: x / 2 (1 + erf(x / √2)), or its approximation by
    tanh (Hendrycks and Gimpel 2016, "Gaussian Error Linear Units")."""
    nodes = []
    for number, node in enumerate(graph.node):
        if node.op_type != "TFL_GELU":
            nodes.append(node)
            continue
        given, result = node.input[0], node.output[0]
        constants = {"half": 0.5, "one": 1.0, "root": 2 ** -0.5, "outer": (2 / np.pi) ** 0.5, "inner": 0.044715}
        names = {name: f"gelu_{number}_{name}" for name in (*constants, *(f"step{place}" for place in range(7)))}
        graph.initializer.extend(onnx.numpy_helper.from_array(np.array(value, "float32"), names[name]) for name, value in constants.items())
        if any(attribute.name == "approximate" and attribute.i for attribute in node.attribute):
            steps = [("Mul", given, given), ("Mul", "step0", given), ("Mul", "step1", "inner"), ("Add", "step2", given),
                     ("Mul", "step3", "outer"), ("Tanh", "step4")]
        else:
            steps = [("Mul", given, "root"), ("Erf", "step0")]
        for place, (kind, *inputs) in enumerate(steps):
            nodes.append(onnx.helper.make_node(kind, [names.get(name, name) for name in inputs], [names[f"step{place}"]]))
        last = f"gelu_{number}_last"
        nodes += [onnx.helper.make_node("Add", [names[f"step{len(steps) - 1}"], names["one"]], [f"{last}_sum"]),
                  onnx.helper.make_node("Mul", [f"{last}_sum", names["half"]], [last]),
                  onnx.helper.make_node("Mul", [last, given], [result])]
    if len(nodes) != len(graph.node):
        del graph.node[:]
        graph.node.extend(nodes)


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.name == old:
            value.name = new


def _name_by_place(graph: Any) -> None:
    """Names nodes and tensors by where they stand: tf2onnx numbers them through the process, and the same model shall be the same file."""
    constants = {value.name: value for value in graph.initializer}
    named = {IMAGE: IMAGE, LOGITS: LOGITS}
    for place, node in enumerate(graph.node):
        for own in node.input:
            named.setdefault(own, f"{node.op_type}_{place}_constant{len(named)}" if own else "")
        for number, own in enumerate(node.output):
            named.setdefault(own, f"{node.op_type}_{place}{f'_{number}' if number else ''}" if own else "")
        node.name = f"{node.op_type}_{place}"
        if not node.domain:
            node.ClearField("domain")  # which is left out or empty, as it happens
        node.input[:], node.output[:] = [named[own] for own in node.input], [named[own] for own in node.output]
    del graph.initializer[:], graph.value_info[:]
    for own in [own for own in named if own in constants]:
        constants[own].name = named[own]
        graph.initializer.append(constants[own])


def _take_pixels(graph: Any, end: signatures.End) -> None:
    """Puts the quantization of raw pixels before an integer graph whose input has another scale than 1."""
    if not end.scale or end.is_raw_pixels:
        return
    inner = _quantization(graph, IMAGE, end, [node.input for node in graph.node])
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    graph.node.insert(0, onnx.helper.make_node("Cast", [IMAGE], ["image_real"], to=onnx.TensorProto.FLOAT))
    graph.node.insert(1, onnx.helper.make_node("QuantizeLinear", ["image_real", "image_scale", "image_zero"], [inner]))


def _give_real_numbers(graph: Any, end: signatures.End) -> None:
    if not end.scale:
        return
    inner = _quantization(graph, LOGITS, end, [node.output for node in graph.node])
    graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    graph.node.append(onnx.helper.make_node("DequantizeLinear", [inner, "logits_scale", "logits_zero"], [LOGITS]))


def _quantization(graph: Any, name: str, end: signatures.End, mentioned: Sequence[Any]) -> str:
    """Gives a tensor another name wherever nodes mention it, and adds its scale and zero point to the graph; the other name."""
    inner = f"{name}_quantized"
    for names in mentioned:
        for place, own in enumerate(names):
            if own == name:
                names[place] = inner
    graph.initializer.extend([onnx.numpy_helper.from_array(np.array(end.scale, "float32"), f"{name}_scale"),
                              onnx.numpy_helper.from_array(np.array(end.zero, end.dtype), f"{name}_zero")])
    return inner
