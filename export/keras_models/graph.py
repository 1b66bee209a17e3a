"""Keras models as functions from named tensors to named tensors, and the SavedModel folders that are written of them.

`keras.export.ExportArchive` collects the variables of its endpoints in an order that differs from one process to the
next, so a folder is written here from a plain tf.Module, with the variables in the model's own order: its bytes depend
on the model alone.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.keras_models.bridge import keras_graph, plain_name
from export.signature import Function, Signature, Tensor
from export.tensors import described

with epy.lazy_imports():
    import keras
    import tensorflow as tf

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"


def function(model: Any, signature: Signature) -> Function:
    """Return the function that calls a model by a signature, in inference.

    Inputs are cast to what the model takes: raw pixels to float32, for instance. Outputs are taken by name where the
    model gives a dict, which may hold more than the signature asks for, and in their order where it gives a list. A
    single input or output goes by any name.

    Args:
        model: functional or Sequential, of Keras 3 or tf_keras.
        signature: its names are the function's.

    Raises:
        ValueError: the model lacks an input or an output of the signature, or takes more inputs.
    """
    sources = _sources(model, signature)
    expected = [tensor.name for tensor in signature.outputs]
    available = output_names(model)
    graph = _graph(model)
    by_name = isinstance(graph.output, Mapping) and not len(expected) == len(available) == 1
    if by_name and (missing := [name for name in expected if name not in available]):
        raise ValueError(f"{model.name} has no output {missing[0]}; it gives {', '.join(available)}")
    if not by_name and len(expected) != len(available):
        raise ValueError(f"{model.name} gives {', '.join(available)}; it must give {', '.join(expected)}")

    def call(**tensors: Any) -> dict[str, Any]:
        values = [tf.cast(tensors[name], tensor.dtype) for name, tensor in zip(sources, graph.inputs, strict=True)]
        outputs = model(keras.tree.pack_sequence_as(graph.input, values), training=False)
        if by_name:
            return {name: outputs[name] for name in expected}
        return dict(zip(expected, keras.tree.flatten(outputs), strict=True))

    return Function(signature, call)


def signature_of(model: keras.Model) -> Signature:
    """Return the signature of a model alone: its inputs' names and types, and its outputs' names.

    Args:
        model: functional or Sequential, of Keras 3 or tf_keras. Roles are guessed, see `export.signature.guessed_role`.
    """
    inputs = [_tensor(name, tensor) for name, tensor in zip(input_names(model), model.inputs, strict=True)]
    outputs = [_tensor(name, tensor, output=True)
               for name, tensor in zip(output_names(model), model.outputs, strict=True)]
    return Signature(inputs=tuple(inputs), outputs=tuple(outputs))


def input_names(model: Any) -> list[str]:
    """Return the names of a model's inputs, in the order of `model.inputs`: the keys of a dict, else those of its
    Inputs."""
    structure = _graph(model).input
    if _is_flat_dict(structure):
        return sorted(structure)
    return [plain_name(tensor) for tensor in model.inputs]


def output_names(model: Any) -> list[str]:
    """Return the names of a model's outputs, in the order of `model.outputs`: the keys of a dict, else those of the
    operations that give them."""
    structure = _graph(model).output
    if _is_flat_dict(structure):
        return sorted(structure)
    names: list[str] = []
    for tensor in model.outputs:
        name = _operation_name(tensor)
        count = sum(_operation_name(other) == name for other in model.outputs[:len(names)])
        names.append(f"{name}_{count}" if count else name)
    return names


def write(model: Any, folder: Path, functions: Sequence[Function], batch: int | None) -> None:
    """Write a SavedModel with a signature for each function.

    Args:
        model: the Keras 3 or tf_keras model that the functions call.
        folder: to be made.
        batch: how many examples every call has; any number where it is None.
    """
    module = tf.Module()
    module.model_variables = [variable if isinstance(variable, tf.Variable) else variable.value
                              for variable in model.variables]
    signatures = {}
    for one in functions:
        traced = tf.function(one.call, autograph=False)
        setattr(module, one.signature.name, traced)
        signatures[one.signature.name] = traced.get_concrete_function(**{spec.name: spec for spec in one.specs(batch)})
    tf.saved_model.save(module, str(folder), signatures=signatures)
    _make_reproducible(folder)


def _graph(model: Any) -> Any:
    """Return what knows the structure of a model's inputs and outputs: in Keras 3, not a Sequential model itself."""
    return keras_graph(model) if isinstance(model, keras.Model) else model


def _sources(model: Any, signature: Signature) -> list[str]:
    """Return the signature's names in the order of the model's inputs. Raises ValueError."""
    names = [tensor.name for tensor in signature.inputs]
    expected = input_names(model)
    if len(names) == len(expected) == 1:
        return names
    if sorted(names) != sorted(expected):
        raise ValueError(f"{model.name} takes {', '.join(expected)}; it is called with {', '.join(names)}")
    return expected


def _is_flat_dict(structure: Any) -> bool:
    return isinstance(structure, Mapping) and not any(isinstance(value, (Mapping, list, tuple))
                                                      for value in structure.values())


def _operation_name(tensor: Any) -> str:
    history = tensor._keras_history
    return (history.operation if hasattr(history, "operation") else history.layer).name  # of Keras 3, of tf_keras


def _tensor(name: str, tensor: Any, *, output: bool = False) -> Tensor:
    dtype = tensor.dtype if isinstance(tensor.dtype, str) else tensor.dtype.name
    return described(name, dtype, tuple(tensor.shape), output=output)


def _make_reproducible(folder: Path) -> None:
    """Give signatures called `classify` and `regress` the method names that TF Serving's calls ask for, order the map
    entries, and drop the optional fingerprint, which holds a random identifier."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / "saved_model.pb"
    content = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in content.meta_graphs:
        for name, method in (("classify", CLASSIFY_METHOD), ("regress", REGRESS_METHOD)):
            if name in meta_graph.signature_def:
                meta_graph.signature_def[name].method_name = method
    path.write_bytes(content.SerializeToString(deterministic=True))
    (folder / "fingerprint.pb").unlink(missing_ok=True)
