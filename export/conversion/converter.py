"""TensorFlow's TFLite converter, whose errors are pages of MLIR: what it refuses, in a line."""
from __future__ import annotations

import re
from typing import Any

from export.errors import first_line

#: How the converter says that TFLite has no such operator, and how that an operator cannot be made otherwise.
MISSING = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")
FAULT = re.compile(r"'tfl?\.(\w+)' op ([^\n]+)")


def run(converter: Any) -> bytes:
    """Return what a `tf.lite.TFLiteConverter` makes.

    Raises:
        ValueError: it refuses the model; the message says which operators it fails at.
    """
    try:
        return converter.convert()
    except Exception as error:  # of several classes of its own
        raise ValueError(refusal(str(error)) or first_line(error)) from error


def refusal(message: str) -> str:
    """Return in a line why the converter refuses a model; "" where the message has another form."""
    if missing := sorted(set(MISSING.findall(message))):
        return f"TFLite has no operator for TensorFlow's {', '.join(missing)}"
    if fault := FAULT.search(message):
        return f"TensorFlow's converter fails at {fault[1]}: {fault[2].strip()}"
    return ""
