"""What can be made of a float32 TFLite file alone, without the model that it was converted from."""
from __future__ import annotations

from pathlib import Path

from export.conversion import calibration as calibrating
from export.conversion import int8, weight_only
from export.conversion.calibration import Calibration
from export.tflite import file as tflite_file


def convert(source: Path, encoding: str, calibration: Calibration | None, *, per_channel: bool,
            integer_io: bool) -> bytes:
    """Return a float32 TFLite file in another encoding, see `export.conversion.convert.convert`.

    Raises:
        ValueError: the encoding needs the model itself, or the file is quantized already.
    """
    content = source.read_bytes()
    if tflite_file.is_quantized(content):
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
        if not calibrating.has_examples(calibration):
            raise ValueError("int8 needs calibration examples")
        return int8.quantize(int8.calibrate(source, calibration or ()), per_channel=per_channel, integer_io=integer_io)
    raise ValueError(f"{encoding} cannot be made of a .tflite file: press it from the Keras model")
