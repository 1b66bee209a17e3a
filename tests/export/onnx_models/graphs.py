"""Small ONNX files, of nodes in ONNX' own text."""
import re

import numpy as np
import onnx
import onnx.parser


def written(path, nodes, opset=18, constants=None, inputs="float[batch, 4, 9, 8] x", outputs="y", seed=0):
    """Write a model; its weights are random where a shape stands for them.

    Args:
        nodes: as ONNX' text has them: ``y = Conv<pads = [1, 1, 1, 1]>(x, k)``.
        constants: name to array, or to the shape of a random one.
        outputs: names, which come with any shape.
    """
    generator = np.random.default_rng(seed)
    kinds = ", ".join(name if " " in name else f"float[] {name}" for name in re.split(r",\s*(?![^\[]*\])", outputs))
    graph = onnx.parser.parse_graph(f"g ({inputs}) => ({kinds}) {{ {nodes} }}")
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    for name, value in (constants or {}).items():
        array = np.asarray(value) if hasattr(value, "dtype") else generator.normal(size=value).astype("float32")
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), str(path))
    return path


def integers(*numbers):
    return np.array(numbers, "int64")
