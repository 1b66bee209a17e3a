"""The makers' tools: which are installed, in which version, and what installs the others."""
from __future__ import annotations

import contextlib
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
    "litert-lm": {"litert_lm": "litert-lm-api", "litert_lm_builder": "litert-lm-builder",
                  "sentencepiece": "sentencepiece"},
    "gguf": {"gguf": "gguf", "sentencepiece": "sentencepiece", "xllamacpp": "xllamacpp"},
    "detection": {"pycocotools": "pycocotools", "skimage": "scikit-image"},
    "faces": {"skimage": "scikit-image"},
    "medical": {"nibabel": "nibabel", "nilearn": "nilearn", "pydicom": "pydicom", "skimage": "scikit-image"},
    "series": {"statsmodels": "statsmodels"},
    "jax": {"jax": "jax"},
    "summarization": {"rouge_score": "rouge-score", "sacrebleu": "sacrebleu"},
    "text": {"sentencepiece": "sentencepiece", "seqeval": "seqeval"},
    "translation": {"sacrebleu": "sacrebleu", "polib": "polib", "django": "django", "pycountry": "pycountry"},
}


def missing(extra: str, *spared: str) -> str:
    """Return what to install where an extra's packages are not all there; an empty text where they are.

    Args:
        spared: packages that may be missing.
    """
    absent = [package for module, package in EXTRAS[extra].items()
              if package not in spared and importlib.util.find_spec(module) is None]
    if not absent:
        return ""
    verb = "is" if len(absent) == 1 else "are"
    return f"{', '.join(absent)} {verb} not installed; .venv/bin/pip install -e '.[{extra}]' brings it"


def versions(extra: str) -> dict[str, str]:
    """Return package to version, of those that are installed."""
    installed = {}
    for package in EXTRAS[extra].values():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[package] = importlib.metadata.version(package)
    return installed
