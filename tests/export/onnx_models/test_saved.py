"""ONNX files against ONNX Runtime: as TensorFlow has them, and as files for phones have them."""
import numpy as np
import pytest

from export.keras_models import as_graph
from export.onnx_models import saved
from export.predictors import LiteRTPredictor, SavedModelPredictor
from tests.export.onnx_models.graphs import integers, written

pytest.importorskip("onnxruntime")
KERNEL, WIDE, DEPTHWISE = {"k": (6, 4, 3, 3)}, {"k": (8, 2, 3, 3)}, {"k": (8, 1, 3, 3)}
CONV = "a = Conv<pads = [1, 1, 1, 1]>(x, k)"
#: Title to nodes and constants; what is behind a convolution is stored channels last.
GRAPHS = {
    "convolution, bias, strides, uneven pads": (
        "y = Conv<pads = [1, 0, 2, 1], strides = [2, 1]>(x, k, b)", {**KERNEL, "b": (6,)}),
    "convolution, SAME_UPPER": ('y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(x, k)', KERNEL),
    "convolution, SAME_LOWER": ('y = Conv<auto_pad = "SAME_LOWER", strides = [2, 2]>(x, k)', KERNEL),
    "convolution, dilated": ("y = Conv<dilations = [2, 2], pads = [2, 2, 2, 2]>(x, k)", KERNEL),
    "convolution of groups": ("y = Conv<group = 2, pads = [1, 1, 1, 1]>(x, k)", WIDE),
    "depthwise convolution": ("y = Conv<group = 4, pads = [1, 1, 1, 1], strides = [2, 2]>(x, k)", DEPTHWISE),
    "depthwise convolution, uneven strides": ("y = Conv<group = 4, strides = [2, 1]>(x, k)", DEPTHWISE),
    "transposed convolution": (
        "y = ConvTranspose<strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 0]>(x, k)", {"k": (4, 3, 3, 3)}),
    "transposed convolution of groups": ("y = ConvTranspose<strides = [2, 2], group = 2>(x, k)", {"k": (4, 3, 2, 2)}),
    "pools": ("a = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x) "
              "b = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(a) "
              "y = AveragePool<kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1>(b)", {}),
    "a pool behind a relu": (f"{CONV} b = Relu(a) y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], "
                             "pads = [1, 1, 1, 1]>(b)", KERNEL),
    "squeeze and excite": (
        f"{CONV} p = GlobalAveragePool(a) s = Conv(p, w) h = HardSigmoid<alpha = 0.16666667>(s) m = Mul(a, h) "
        "y = HardSwish(m)", {**KERNEL, "w": (6, 6, 1, 1)}),
    "batch normalization, clip, residual": (
        f"{CONV} n = BatchNormalization(a, s, o, m, v) c = Clip(n, low, high) y = Add(c, a)",
        {**KERNEL, "s": (6,), "o": (6,), "m": (6,), "v": np.linspace(0.5, 2, 6).astype("float32"),
         "low": np.float32(0).reshape(()), "high": np.float32(6).reshape(())}),
    "channels together, apart, and flat": (
        f"{CONV} c = Concat<axis = 1>(a, x) s, t = Split<axis = 1>(c, parts) f = Flatten(s) y = Gemm<transB = 1>(f, w)",
        {**KERNEL, "parts": integers(6, 4), "w": (5, 6 * 72)}),
    "constants for each channel, row and place": (
        f"{CONV} b = Mul(a, c) d = Add(b, r) y = Sub(d, p)", {**KERNEL, "c": (6, 1, 1), "r": (8,), "p": (1, 6, 9, 8)}),
    "means along rows, along channels, of all": (
        f"{CONV} b = ReduceMean<keepdims = 1>(a, one) c = Div(a, b) d = ReduceMax<keepdims = 0>(c, two) "
        "y = ReduceMean<keepdims = 0>(d, one)", {**KERNEL, "one": integers(1), "two": integers(-1)}),
    "pad, slice and resize": (
        f"{CONV} p = Pad(a, pads) s = Slice(p, from, to, axes, steps) y = Resize<mode = \"linear\">(s, , scales)",
        {**KERNEL, "pads": integers(0, 0, 1, 2, 0, 0, 0, 1), "from": integers(1, -1), "to": integers(9, -99),
         "axes": integers(2, 3), "steps": integers(2, -1), "scales": np.float32([1, 1, 2, 2])}),
    "resized to the nearest, and by cubes": (
        f'{CONV} b = Resize<mode = "nearest">(a, , scales) y = Resize<mode = "cubic">(b, , , sizes)',
        {**KERNEL, "scales": np.float32([1, 1, 2, 2]), "sizes": integers(1, 6, 11, 13)}),
    "depth to space and back": (
        "a = Conv<pads = [1, 1, 1, 1]>(x, k) b = DepthToSpace<blocksize = 2, mode = \"CRD\">(a) y = SpaceToDepth"
        "<blocksize = 2>(b)", {"k": (8, 4, 3, 3)}),
    "layer normalization as ConvNeXt has it": (
        f"{CONV} t = Transpose<perm = [0, 2, 3, 1]>(a) n = LayerNormalization(t, s, o) m = MatMul(n, w) g = Gelu(m) "
        "y = Transpose<perm = [0, 3, 1, 2]>(g)", {**KERNEL, "s": (6,), "o": (6,), "w": (6, 7)}),
    "gelu written out": (
        f"{CONV} d = Div(a, root) e = Erf(d) f = Add(e, one) g = Mul(a, f) y = Mul(g, half)",
        {**KERNEL, "root": np.float32(2 ** 0.5), "one": np.float32(1), "half": np.float32(0.5)}),
    "instances, groups and responses": (
        f"{CONV} i = InstanceNormalization(a, s, o) g = GroupNormalization<num_groups = 2>(i, t, u) "
        "y = LRN<size = 3>(g)",
        {**KERNEL, "s": (6,), "o": (6,), "t": (6,), "u": (6,)}),
    "a sequence": (
        "r = Squeeze(x, two) c = Conv<pads = [1, 1], strides = [2]>(r, k) y = AveragePool<kernel_shape = [2]>(c)",
        {"k": (5, 4, 3), "two": integers(2)}),
    "attention": (
        "r = Reshape(x, flat) t = Transpose<perm = [0, 2, 1]>(r) q = MatMul(t, w) s = MatMul(q, r) p = Softmax(s) "
        "v = MatMul(p, t) n, e = TopK<axis = -1>(v, count) y = ReduceSum<keepdims = 0>(n, one)",
        {"flat": integers(0, 4, -1), "w": (4, 4), "count": integers(3), "one": integers(1)}),
    "shapes that are computed": (
        "s = Shape<start = 2>(x) r = ReduceProd<keepdims = 1>(s) m = Concat<axis = 0>(head, r) y = Reshape(x, m)",
        {"head": integers(0, 4)}),
}
#: What files for phones hold in these, and nothing that turns the axes between them.
TURNED_ONCE = ("squeeze and excite", "batch normalization, clip, residual", "layer normalization as ConvNeXt has it")


def opset(nodes):
    """The version of the operators in which a graph's are."""
    return 21 if "GroupNormalization" in nodes else 20 if "Gelu" in nodes else 18


def given(rows=9, count=5):
    return np.random.default_rng(1).normal(size=(count, 4, rows, 8)).astype("float32")


@pytest.mark.parametrize("title", GRAPHS)
def test_a_graph_answers_as_in_onnx_runtime(tmp_path, title):
    nodes, constants = GRAPHS[title]
    rows = 1 if title == "a sequence" else 9
    path = written(tmp_path / "m.onnx", nodes, opset(nodes), constants,
                   f"float[batch, 4, {rows}, 8] x")
    expected = saved.ONNXFile(path).answers({"x": given(rows)})["y"]
    saved.export(path, tmp_path / "m")
    answered = SavedModelPredictor(tmp_path / "m").predict({"x": given(rows)})["y"]
    np.testing.assert_allclose(answered, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("title", GRAPHS)
def test_a_file_for_phones_answers_as_onnx_runtime(tmp_path, title):
    nodes, constants = GRAPHS[title]
    rows = 1 if title == "a sequence" else 9
    path = written(tmp_path / "m.onnx", nodes, opset(nodes), constants,
                   f"float[batch, 4, {rows}, 8] x")
    expected = saved.ONNXFile(path).answers({"x": given(rows)})["y"]
    (tmp_path / "m.tflite").write_bytes(as_graph.as_named_tflite(path, as_graph.signature_of(path).inputs))
    answered = LiteRTPredictor(tmp_path / "m.tflite").predict({"x": given(rows)})["y"]
    np.testing.assert_allclose(answered, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("title", TURNED_ONCE)
def test_a_turned_network_has_no_transposes(tmp_path, title):
    from export.tflite import file as tflite_file

    nodes, constants = GRAPHS[title]
    path = written(tmp_path / "m.onnx", nodes, opset(nodes), constants)
    signature = as_graph.signature_of(path, layout="nhwc")
    assert signature.inputs[0].shape == (9, 8, 4)
    content = as_graph.as_named_tflite(path, signature.inputs, layout="nhwc")
    assert "TRANSPOSE" not in tflite_file.operators(content)
    (tmp_path / "m.tflite").write_bytes(content)
    answered = LiteRTPredictor(tmp_path / "m.tflite").predict({"x": given().transpose(0, 2, 3, 1)})["y"]
    expected = as_graph.answers(path, [given().transpose(0, 2, 3, 1)], layout="nhwc")[0]
    plain = saved.ONNXFile(path).answers({"x": given()})["y"]
    np.testing.assert_array_equal(expected, plain.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(answered, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


REFUSED = {
    "operators": ("a = NonZero(x) b = Cast<to = 1>(a) y = Hardmax(b)", {},
                  "m.onnx has the operators Hardmax, NonZero, which are not read; those that are: docs/frameworks.md"),
    "open sizes": ("y = Relu(x)", {"inputs": "float[batch, 3, height, width] x"},
                   "takes x \\(batch, 3, height, width\\), whose height and width are open"),
    "a batch": ("y = Relu(x)", {"inputs": "float[8, 3] x"}, "in batches of 8 examples alone"),
    "one number": ("y = Relu(x)", {"inputs": "float[] x"},
                   "one number for all examples|Field 'shape' of 'type' is required"),
    "text": ("y = Identity(x)", {"inputs": "string[batch, 2] x", "outputs": "string[batch, 2] y"},
             "numbers of its type|neither numbers"),
    "quantized": ("a = QuantizeLinear(x, s) y = DequantizeLinear(a, s)", {"constants": {"s": np.float32(0.1)}},
                  "is quantized already \\(DequantizeLinear\\); give the float model"),
    "an old version": ("y = Relu(x)", {"opset": 6}, "of version 6 of ONNX' operators; 7 and later are read"),
    "what depends on its input": ("a = Cast<to = 7>(x) b = ReduceMax(a) c = Reshape(b, one) y, z = TopK(x, c)",
                                  {"constants": {"one": integers(1)}},
                                  "number k depends on what the model is given"),
}


@pytest.mark.parametrize("title", REFUSED)
def test_what_is_not_read_is_said_by_name_in_a_line(tmp_path, title):
    nodes, settings, message = REFUSED[title]
    path = written(tmp_path / "m.onnx", nodes, **settings)
    with pytest.raises(ValueError, match=message) as caught:
        as_graph.signature_of(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\x08\x07" * 40])
def test_a_file_that_is_none_is_said_to_be_none(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"m\.onnx cannot be read as an ONNX model"):
        as_graph.signature_of(tmp_path / "m.onnx")


def test_a_layout_is_for_onnx_files_alone(tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"TFL3")
    with pytest.raises(ValueError, match=r"is not an \.onnx file; a layout is for those alone"):
        as_graph.signature_of(tmp_path / "m.tflite", layout="nhwc")
