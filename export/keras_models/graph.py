"""SavedModel folders whose bytes depend on the model alone.

`keras.export.ExportArchive` collects the variables of its endpoints in an order that differs from one process to the next, so the
folder is written here from a plain tf.Module, with the variables in the model's own order.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from etils import epy

with epy.lazy_imports():
    import keras
    import tensorflow as tf

CLASSIFY_METHOD = "tensorflow/serving/classify"


def write(model: keras.Model, folder: Path, endpoints: Mapping[str, tuple[Callable, Sequence[tf.TensorSpec]]]) -> None:
    """Writes a SavedModel.

    Args:
        model: the Keras 3 or tf_keras model that the endpoints call.
        folder: to be made.
        endpoints: signature name to (function from tensors to a dict of tensors, the specification of its arguments).
    """
    module = tf.Module()
    module.model_variables = [variable if isinstance(variable, tf.Variable) else variable.value for variable in model.variables]
    signatures = {}
    for name, (function, specification) in endpoints.items():
        traced = tf.function(function, input_signature=list(specification), autograph=False)
        setattr(module, name, traced)
        signatures[name] = traced.get_concrete_function()
    tf.saved_model.save(module, str(folder), signatures=signatures)
    _settle(folder)


def _settle(folder: Path) -> None:
    """Gives a `classify` signature the method name that TF Serving's Classify call asks for, orders the map entries, and drops the
    optional fingerprint, which holds a random identifier."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / "saved_model.pb"
    content = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for graph in content.meta_graphs:
        if "classify" in graph.signature_def:
            graph.signature_def["classify"].method_name = CLASSIFY_METHOD
    path.write_bytes(content.SerializeToString(deterministic=True))
    (folder / "fingerprint.pb").unlink(missing_ok=True)
