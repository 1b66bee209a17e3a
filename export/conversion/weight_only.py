"""Weights in few bits, with computation in float32: smaller files that need no calibration (litert-quantizer)."""
from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

from export.tflite import file as tflite_file
from export.tflite import lstm

#: Encodings that are made here, and how many bits a weight has.
BITS = {"int8_weights": 8, "int4_weights": 4}


def quantize(content: bytes, bits: int) -> bytes:
    """Return a float32 TFLite file with the weights of convolutions and dense layers in 4 or 8 bits, a scale per
    output channel; those of LSTMs always in 8.

    Args:
        content: a float32 TFLite file.
        bits: 4 or 8.
    """
    rounded = _quantized(content, f"weight_only_wi{bits}_afp32")
    return lstm.with_int8_weights(rounded) if lstm.is_in(rounded) else rounded


def dynamic(content: bytes) -> bytes:
    """Return a float32 TFLite file with weights in int8, whose activations are quantized while running."""
    return _quantized(content, "dynamic_wi8_afp32")


def _quantized(content: bytes, name: str) -> bytes:
    from litert_quantizer import quantizer, recipe

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float32.tflite"
        source.write_bytes(tflite_file.with_names_of_their_own(content))
        with contextlib.redirect_stdout(io.StringIO()):
            return bytes(quantizer.Quantizer(str(source), getattr(recipe, name)()).quantize().quantized_model)
