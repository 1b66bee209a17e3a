"""Core ML packages, on macOS."""
from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epy

from export.errors import first_line
from export.predictors.predictor import BatchPredictor
from export.signature import DEFAULT, Signature, Tensor
from export.tensors import described

with epy.lazy_imports():
    import numpy as np

#: Core ML's numbers of the types of arrays (FeatureTypes.proto) and NumPy's names.
TYPES = {65568: "float32", 65552: "float16", 65600: "float64", 131104: "int32", 131080: "int8"}


class CoreMLPredictor(BatchPredictor):
    """A Core ML package, one example at a time. Core ML runs on macOS alone.

    Args:
        path: the .mlpackage.
        threads: Core ML's own choice, whatever is asked for.

    Raises:
        ValueError: the package cannot be read, or this is not macOS.
    """

    def __init__(self, path: Path, threads: int = 1):
        if sys.platform != "darwin":
            raise ValueError(f"{path} runs on macOS alone; here its structure can be read")
        try:
            import coremltools

            self.model: Any = coremltools.models.MLModel(str(path))
        except ImportError as error:
            raise ValueError(f"{path} wants coremltools: .venv/bin/pip install -e '.[coreml]'") from error
        except Exception as error:
            raise ValueError(f"{path} is not a package that Core ML can run: {first_line(error)}") from error
        self.signatures = {DEFAULT: signature_of(self.model.get_spec().description)}

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        outputs = self.model.predict(batch)
        return {tensor.name: outputs[tensor.name] for tensor in signature.outputs}


def signature_of(description: Any) -> Signature:
    """Return the signature in a package's ModelDescription message.

    Raises:
        ValueError: it takes or gives something else than arrays.
    """
    return Signature(inputs=tuple(map(_tensor, description.input)),
                     outputs=tuple(_tensor(feature, output=True) for feature in description.output))


def _tensor(feature: Any, *, output: bool = False) -> Tensor:
    kind = feature.type.WhichOneof("Type")
    if kind != "multiArrayType":
        raise ValueError(f"{feature.name} is not an array but {kind}; models that are made here have arrays alone")
    array = feature.type.multiArrayType
    return described(feature.name, TYPES.get(array.dataType, str(array.dataType)), list(array.shape), output=output)
