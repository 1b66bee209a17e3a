"""SavedModel folders, on TensorFlow."""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from etils import epy

from export.errors import first_line
from export.predictors.predictor import BatchPredictor
from export.signature import Signature, Tensor
from export.tensors import described

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


class SavedModelPredictor(BatchPredictor):
    """A SavedModel, through its signatures.

    Args:
        folder: the version folder.
        batch: examples at a time, where the model leaves it open.

    Raises:
        ValueError: the folder is not a SavedModel, or has no signatures.
    """

    def __init__(self, folder: Path, batch: int = 256):
        try:
            self.loaded = tf.saved_model.load(str(folder))
        except OSError as error:
            raise ValueError(f"{folder} is not a SavedModel: {first_line(error)}") from error
        self.functions: Mapping[str, Any] = dict(self.loaded.signatures)
        if not self.functions:
            raise ValueError(f"{folder} has no signatures: nothing in it can be called by name; save it with some, "
                             "tf.saved_model.save(module, folder, signatures=module.function)")
        self.signatures = {name: _signature(name, function) for name, function in self.functions.items()}
        specs = [spec for function in self.functions.values() for spec in _inputs(function).values()]
        self.batch = min([batch, *(spec.shape[0] for spec in specs if spec.shape.rank and spec.shape[0] is not None)])

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return self._prepared(signature, batch)()

    def _prepared(self, signature: Signature, batch: dict[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
        function = self.functions[signature.name]
        tensors = {name: tf.constant(batch[name], spec.dtype) for name, spec in _inputs(function).items()}
        return lambda: {name: value.numpy() for name, value in function(**tensors).items()}


def _inputs(function: Any) -> Mapping[str, Any]:
    return function.structured_input_signature[1]


def _signature(name: str, function: Any) -> Signature:
    """Return a function's signature. Its inputs and outputs are in the order of their names, a name's digits as a
    number: the file keeps them in a map, which has no order and is read in another one by every process."""
    inputs, outputs = _inputs(function), function.structured_outputs
    return Signature(name=name, inputs=tuple(_tensor(one, inputs[one]) for one in sorted(inputs, key=_by_number)),
                     outputs=tuple(_tensor(one, outputs[one], output=True)
                                   for one in sorted(outputs, key=_by_number)))


def _by_number(name: str) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]


def _tensor(name: str, spec: Any, *, output: bool = False) -> Tensor:
    shape = spec.shape.as_list() if spec.shape.rank is not None else ()
    return described(name, spec.dtype.name, shape, output=output)
