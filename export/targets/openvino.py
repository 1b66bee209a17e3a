"""OpenVINO: a variant's TFLite file for Intel's CPUs, GPUs and NPUs."""
from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.tflite import signatures
from export.tflite.signatures import FileSignature, TensorInfo

with epy.lazy_imports():
    import numpy as np
    import openvino


def convert(content: bytes, labels: Sequence[str], target: Path) -> None:
    """Write a TFLite file as OpenVINO's model.xml, with model.bin beside it.

    Its inputs and outputs have the names of the file's main signature. Images of raw pixels that the file takes as
    integers are taken as uint8; what is quantized otherwise, images of 0..1 too, is taken and given as float32.

    Args:
        labels: class names, written into the model's information, if there are any.

    Raises:
        ValueError: an operator has no OpenVINO form.
    """
    signature = signatures.main(content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        try:
            model = openvino.convert_model(str(path))
        except Exception as error:
            raise ValueError(f"OpenVINO cannot convert it: {' '.join(str(error).split())[:200]}") from error
    model = _of_real_numbers(model, signature)
    if labels:
        model.set_rt_info("\n".join(labels), ["model_info", "labels"])
    openvino.save_model(model, str(target), compress_to_fp16=False)


def _of_real_numbers(model: Any, signature: FileSignature) -> Any:
    """Return the same model of real numbers, and raw pixels, with its inputs and outputs called as in the signature."""
    from openvino import opset13 as ops

    roles = {tensor.name: tensor.role for tensor in signature.signature().inputs}
    parameters = [_quantized(_named(model.inputs, info).get_node(), info,
                             roles[name] == "image" and info.reaches_pixels)
                  for name, info in signature.inputs.items()]
    results = []
    for info in signature.outputs.values():
        value = _named(model.outputs, info).get_node().input_value(0)
        if info.scale:
            centred = ops.subtract(ops.convert(value, "f32"), np.float32(info.zero))
            value = ops.multiply(centred, np.float32(info.scale)).output(0)
        results.append(ops.result(value))
    rebuilt = openvino.Model(results, parameters, "model")
    for ends, infos in ((rebuilt.inputs, signature.inputs), (rebuilt.outputs, signature.outputs)):
        for end, name in zip(ends, infos, strict=True):
            end.get_tensor().set_names({name})
    rebuilt.validate_nodes_and_infer_types()
    # their names count through the process, and the same model shall be the same file
    for position, node in enumerate(rebuilt.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{position}")
    return rebuilt


def _named(ends: Sequence[Any], info: TensorInfo) -> Any:
    """Return the input or output that a file's graph calls as `info` says; the only one goes by any name.

    Raises:
        ValueError: there is none.
    """
    for end in ends:
        if info.tensor_name in end.get_names() or len(ends) == 1:
            return end
    raise ValueError(f"OpenVINO has lost the tensor {info.tensor_name}")


def _quantized(parameter: Any, info: TensorInfo, pixels: bool) -> Any:
    """Return what a model takes in the place of a quantized input; any other as it is."""
    from openvino import opset13 as ops

    if not info.scale or info.stores_values:
        return parameter
    outer = ops.parameter(list(info.shape), np.uint8 if pixels else np.float32, name=info.name)
    limits = np.iinfo(info.dtype)
    steps = ops.round(ops.divide(ops.convert(outer, "f32"), np.float32(info.scale)), "half_to_even")
    stored = ops.clamp(ops.add(steps, np.float32(info.zero)), float(limits.min), float(limits.max))
    converted = ops.convert(stored, info.dtype.replace("uint", "u").replace("int", "i"))
    for target in list(parameter.output(0).get_target_inputs()):
        target.replace_source_output(converted.output(0))
    return outer
