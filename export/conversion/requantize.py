"""What can be made of a float32 TFLite file alone, without the model that it was converted from."""
from __future__ import annotations

from etils import epy

from export.conversion import weight_only
from export.tflite import file as tflite_file

with epy.lazy_imports():
    import numpy as np


def calibrate(content: bytes, pictures: np.ndarray) -> bytes:
    """The file with the ranges of its activations noted.

    Args:
        content: a float32 TFLite file of one picture at a time.
        pictures: uint8 (examples, height, width, channels).
    """
    from tensorflow.lite.python.optimize import calibrator

    return bytes(calibrator.Calibrator(content).calibrate(lambda: ([picture[None].astype("float32")] for picture in pictures)))


def convert(content: bytes, encoding: str, pictures: np.ndarray | None, *, per_channel: bool, integer_ends: bool) -> bytes:
    """The file in another encoding, see `export.conversion.convert.convert`. Raises ValueError for one that needs the model itself."""
    from export.conversion import int8

    if not tflite_file.float_tensors(content) or "QUANTIZE" in tflite_file.operators(content):
        if encoding == "float32":
            return content
        raise ValueError("the given .tflite file is quantized already; press it from the float model")
    if encoding == "float32":
        return content
    if encoding == "float16":
        return tflite_file.halve_weights(content)
    if encoding in weight_only.BITS:
        return weight_only.quantize(content, weight_only.BITS[encoding])
    if encoding == "dynamic":
        return weight_only.dynamic(content)
    if encoding == "int8":
        if pictures is None or not len(pictures):
            raise ValueError("int8 needs calibration pictures")
        return int8.quantize(calibrate(content, pictures), per_channel=per_channel, integer_ends=integer_ends)
    raise ValueError(f"{encoding} cannot be made of a .tflite file: press it from the Keras model")


def normalized(content: bytes, scale: float, offset: float) -> bytes:
    """A float32 file that takes raw pixels and gives logits: pixels are scaled at its input, and a softmax at its output is taken off.

    Args:
        scale, offset: what raw pixels are multiplied with, and what is added then.

    Raises:
        ValueError: it is no file of one picture and one output.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = tflite_file.read(content)
    main = model.subgraphs[0]
    if len(main.inputs) != 1 or len(main.outputs) != 1:
        raise ValueError(f"the .tflite file has {len(main.inputs)} inputs and {len(main.outputs)} outputs; it must have one of each")
    image = main.tensors[main.inputs[0]]
    if len(image.shape) != 4 or image.shape[0] != 1 or image.shape[-1] not in (1, 3):
        raise ValueError(f"the .tflite file takes {tuple(map(int, image.shape))}; it must be one picture, (1, height, width, 1 or 3 "
                         "channels)")
    last = next(one for one in main.operators if main.outputs[0] in one.outputs)
    if tflite_file.operator_name(model, last) == "SOFTMAX":
        main.operators.remove(last)
        _rename(model, int(main.outputs[0]), int(last.inputs[0]))
        main.outputs = [int(last.inputs[0])]
        tflite_file.drop_unused_codes(model)
    if (scale, offset) != (1.0, 0.0) and image.type == schema.TensorType.FLOAT32:
        given = int(main.inputs[0])
        raw = _tensor(model, b"image", image.shape)
        scaled = _tensor(model, b"pixels/scaled", image.shape)
        factor, term = _constant(model, b"pixels/scale", scale), _constant(model, b"pixels/offset", offset)
        main.operators = [_arithmetic(model, "MUL", [raw, factor], scaled), _arithmetic(model, "ADD", [scaled, term], given),
                          *main.operators]
        _rename(model, given, raw)
        main.inputs = [raw]
    return tflite_file.write(model)


def _rename(model: object, old: int, new: int) -> None:
    """Lets the signatures speak of another tensor."""
    for signature in model.signatureDefs or []:  # type: ignore[attr-defined]
        for one in (*signature.inputs, *signature.outputs):
            if one.tensorIndex == old:
                one.tensorIndex = new


def _tensor(model: object, name: bytes, shape: object, buffer: int = 0) -> int:
    from ai_edge_litert import schema_py_generated as schema

    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer, tensor.hasRank = name, shape, schema.TensorType.FLOAT32, buffer, True
    model.subgraphs[0].tensors.append(tensor)  # type: ignore[attr-defined]
    return len(model.subgraphs[0].tensors) - 1  # type: ignore[attr-defined]


def _constant(model: object, name: bytes, value: float) -> int:
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.float32(value).tobytes(), "uint8")
    model.buffers.append(buffer)  # type: ignore[attr-defined]
    return _tensor(model, name, [], len(model.buffers) - 1)  # type: ignore[attr-defined]


def _arithmetic(model: object, kind: str, inputs: list[int], output: int) -> object:
    from ai_edge_litert import schema_py_generated as schema

    operator = schema.OperatorT()
    operator.opcodeIndex = tflite_file.operator_code(model, getattr(schema.BuiltinOperator, kind))
    operator.inputs, operator.outputs = inputs, [output]
    options = schema.MulOptionsT() if kind == "MUL" else schema.AddOptionsT()
    operator.builtinOptionsType = schema.BuiltinOptions.MulOptions if kind == "MUL" else schema.BuiltinOptions.AddOptions
    operator.builtinOptions = options
    return operator
