"""OpenVINO: a variant's TFLite file for Intel's CPUs, GPUs and NPUs."""
from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.predictors import IMAGE, LOGITS
from export.tflite import signatures

with epy.lazy_imports():
    import numpy as np
    import openvino


def convert(content: bytes, labels: Sequence[str], target: Path) -> None:
    """Writes a TFLite file as OpenVINO's model.xml, with model.bin beside it.

    It takes `image`, raw pixels 0..255 (1, height, width, channels), float32, or uint8 where the TFLite file is an integer one, and
    gives `logits`, float32 (1, classes).

    Raises:
        ValueError: an operator has no OpenVINO form.
    """
    found = signatures.of(content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        try:
            model = openvino.convert_model(str(path))
        except Exception as error:
            raise ValueError(f"OpenVINO cannot convert it: {' '.join(str(error).split())[:200]}") from error
    model = _with_real_ends(model, found)
    model.set_rt_info("\n".join(labels), ["model_info", "labels"])
    openvino.save_model(model, str(target), compress_to_fp16=False)


def _with_real_ends(model: Any, found: signatures.Ends) -> Any:
    """The same model from raw pixels to real numbers, its ends called by the names that all formats share."""
    from openvino import opset13 as ops

    inner, last = model.get_parameters()[0], model.get_results()[0]
    outer, pixels = inner, inner.output(0)
    if found.input.scale and not found.input.is_raw_pixels:
        outer = ops.parameter(list(found.input.shape), np.uint8, name=IMAGE)
        limits = np.iinfo(found.input.dtype)
        steps = ops.round(ops.divide(ops.convert(outer, "f32"), np.float32(found.input.scale)), "half_to_even")
        stored = ops.clamp(ops.add(steps, np.float32(found.input.zero)), float(limits.min), float(limits.max))
        for target in list(pixels.get_target_inputs()):
            target.replace_source_output(ops.convert(stored, found.input.dtype.replace("uint", "u").replace("int", "i")).output(0))
    result = last.input_value(0)
    if found.output.scale:
        centred = ops.subtract(ops.convert(result, "f32"), np.float32(found.output.zero))
        result = ops.multiply(centred, np.float32(found.output.scale)).output(0)
    made = openvino.Model([ops.result(result)], [outer], "model")
    made.inputs[0].get_tensor().set_names({IMAGE})
    made.outputs[0].get_tensor().set_names({LOGITS})
    made.validate_nodes_and_infer_types()
    for place, node in enumerate(made.get_ordered_ops()):  # whose names count through the process; the same model shall be the same file
        node.set_friendly_name(f"{node.get_type_name()}_{place}")
    return made
