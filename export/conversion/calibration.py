"""Calibration: the examples that show how far the activations of a graph reach."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.signature import Arrays, Signature, Tensor
from export.tensors import described
from export.tflite import file as tflite_file
from export.tflite import signatures

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Name of a signature, and its inputs of many examples. A signature may come more than once.
Calibration = Sequence[tuple[str, Arrays]]


def has_examples(calibration: Calibration | None) -> bool:
    """Return whether there is an example to calibrate with."""
    return any(len(value) for _, inputs in calibration or () for value in inputs.values())


def one_by_one(inputs: Arrays) -> Iterator[dict[str, np.ndarray]]:
    """Yield the examples of `inputs` as batches of one."""
    for number in range(len(next(iter(inputs.values())))):
        yield {name: value[number:number + 1] for name, value in inputs.items()}


def representative(source: Path, calibration: Calibration) -> Callable[[], Iterator[Any]]:
    """Return what the converter takes as a representative data set: one example at a time, in the types of the graph.

    Args:
        source: a SavedModel folder, or a TFLite file.

    Raises:
        ValueError: the graph has no such signature, or takes other inputs.
    """
    known = signatures_of(source)
    for name, inputs in calibration:
        if name not in known:
            raise ValueError(f"calibration: the graph has no signature {name}; it has {', '.join(known)}")
        known[name].fit(next(one_by_one(inputs)))
    # the calibrator would sort the inputs of a file's signature by their numbers, which is not always their order
    in_order = source.is_file() and len(known) == 1

    def examples() -> Iterator[Any]:
        for name, inputs in calibration:
            for example in one_by_one(inputs):
                fitted = known[name].fit(example)
                yield list(fitted.values()) if in_order else (name, fitted)

    return examples


def signatures_of(source: Path) -> dict[str, Signature]:
    """Return what the signatures of a SavedModel folder or a TFLite file take, by name; a file's inputs in its
    order."""
    if source.is_file():
        return _signatures_of_file(source.read_bytes())
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel.FromString((source / "saved_model.pb").read_bytes())
    result = {}
    for name, definition in content.meta_graphs[0].signature_def.items():
        if not name.startswith("__"):
            inputs = tuple(_tensor(key, info) for key, info in sorted(definition.inputs.items()))
            result[name] = Signature(name=name, inputs=inputs, outputs=())
    return result


def _signatures_of_file(content: bytes) -> dict[str, Signature]:
    model = tflite_file.read(content)
    result = {}
    for name, signature in signatures.of(content).items():
        order = list(map(int, model.subgraphs[signature.subgraph].inputs))
        infos = sorted(signature.inputs.values(), key=lambda info: order.index(info.index))
        result[name] = Signature(name=name, inputs=tuple(info.described() for info in infos), outputs=())
    return result


def _tensor(name: str, info: Any) -> Tensor:
    return described(name, tf.as_dtype(info.dtype).name, tf.TensorShape(info.tensor_shape).as_list())
