"""The makers' tools: which are installed, in which version, and what installs the others."""
from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping

#: Extra of this package to the modules that it brings, each with the name of its package.
EXTRAS: dict[str, Mapping[str, str]] = {
    "ethos-u": {"ethosu": "ethos-u-vela"},
    "coreml": {"coremltools": "coremltools"},
    "openvino": {"openvino": "openvino"},
    "microcontroller": {"tflite_micro": "tflite-micro"},
    "onnx": {"onnx": "onnx", "onnxruntime": "onnxruntime", "tf2onnx": "tf2onnx"},
}


def missing(extra: str) -> str:
    """What to install where an extra's packages are not all there; empty where they are."""
    absent = [package for module, package in EXTRAS[extra].items() if importlib.util.find_spec(module) is None]
    if not absent:
        return ""
    return f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed; .venv/bin/pip install -e '.[{extra}]' brings it"


def versions(extra: str) -> dict[str, str]:
    """Package to version, of those that are installed."""
    found = {}
    for package in EXTRAS[extra].values():
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
