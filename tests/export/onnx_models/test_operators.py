"""Every operator that is read, against ONNX' own cases for those who implement it, and against ONNX Runtime."""
import re
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf

from export.onnx_models import reader
from export.onnx_models.playing import play
from export.onnx_models.reader import ONNXModel
from export.onnx_models.registry import OPERATORS
from export.onnx_models.values import Value

#: Cases that are not read, by their names, each with why.
LEFT_OUT = {
    r".*(bf16|bfloat16|BFLOAT16)": "rounds to bfloat16 on the way; here it is computed in float32",
    r"(cast|castlike)_.*(STRING|FLOAT8|FLOAT4|INT4|INT2|FLOAT6|E8M0|FLOAT16|DOUBLE)": "types that phones lack",
    r".*(training|dropout_default_mask)": "training",
    r"(averagepool|maxpool|convtranspose)_3d": "three axes",
    r"averagepool_2d_dilations": "said by name", r"maxpool_with_argmax": "said by name",
    r"identity_(sequence|opt)": "no tensors",
    r"resize_.*(antialias|not_larger|not_smaller|crop_and_resize)": "said by name",
    r"resize_downsample_scales_(linear|cubic)_align_corners": "ONNX Runtime computes as we do, not as this case",
}
#: Types that are computed in float32.
WIDENED = ("float16", "float64", "bfloat16")


def answered(model, arrays):
    """What a model gives to arrays of its inputs: the first one of real numbers is given, the others are constants."""
    opset = max(one.version for one in model.opset_import if one.domain == "")
    names = [value.name for value in model.graph.input]
    given = {name: array.astype("float32") if array.dtype.name in WIDENED else array
             for name, array in zip(names, arrays, strict=True)}
    asked = [name for name in names if name != "depth"]
    fed = next((name for name in asked if given[name].dtype.kind == "f"), asked[0] if asked else None)
    values = {name: Value(tf.constant(array) if name == fed else array) for name, array in given.items()}
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    read = ONNXModel(model.graph, constants, (), tuple(value.name for value in model.graph.output), opset)
    return [np.asarray(value.first) for value in play(read, values).values()]


@pytest.mark.slow
def test_the_cases_of_onnx_hold_for_every_operator():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases
        found = collect_testcases(None)
    held, wrong = set(), []
    for case in found:
        name = case.name.removeprefix("test_")
        kinds = {node.op_type for node in case.model.graph.node}
        if not kinds <= set(OPERATORS) or any(node.domain for node in case.model.graph.node):
            continue
        if any(re.match(pattern, name) for pattern in LEFT_OUT):
            continue
        try:
            for inputs, outputs in case.data_sets:
                for result, expected in zip(answered(case.model, list(map(np.asarray, inputs))), outputs, strict=False):
                    assert result.shape == np.shape(expected)
                    np.testing.assert_allclose(result, np.asarray(expected, result.dtype), rtol=max(case.rtol, 1e-4),
                                               atol=max(case.atol, 1e-5))
        except (AssertionError, ValueError) as error:
            wrong.append(f"{name}: {' '.join(str(error).split())[:120]}")
        held |= kinds
    assert not wrong, "\n".join(wrong)
    assert len(held) > 100


def test_the_docs_list_the_operators():
    page = (Path(__file__).parents[3] / reader.PAGE).read_text()
    section = page.split("### Operators")[1].split("Not in every setting")[0]
    assert re.findall(r"`(\w+)`", section) == sorted(OPERATORS)
