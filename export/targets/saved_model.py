"""TF SavedModels with the signatures that TF Serving's clients call."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.keras_models import graph
from export.signature import DEFAULT, Function, Signature, Tensor
from export.tensors import described

with epy.lazy_imports():
    import keras
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

#: The template of conversations, in a folder of what stands beside a SavedModel: a server writes them by it.
CHAT_TEMPLATE, BESIDE = "chat_template.jinja", "assets.extra"
#: What TF Serving's calls of serialized examples name their signatures.
OF_EXAMPLES = ("tensorflow/serving/classify", "tensorflow/serving/regress")


def export(model: keras.Model, folder: Path, functions: Sequence[Function], template: bytes | None = None) -> None:
    """Write a SavedModel with a signature per function, for batches of any size.

    Args:
        model: what the functions call.
        folder: the numbered version folder, to be made.
        template: of conversations, jinja, where the model has one.
    """
    graph.write(model, folder, functions, None)
    if template is not None:
        (folder / BESIDE).mkdir(exist_ok=True)
        (folder / BESIDE / CHAT_TEMPLATE).write_bytes(template)


def signatures(folder: Path) -> dict[str, Signature]:
    """Return the signatures of a SavedModel's folder by name, read without loading its graph.

    Roles are guessed, tensors come in the order of their names, and `serving_default` comes first.

    Raises:
        ValueError: it is not a SavedModel.
    """
    path = folder / "saved_model.pb"
    try:
        content = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        definitions = content.meta_graphs[0].signature_def
    except Exception as error:
        raise ValueError(f"{folder} is not a SavedModel") from error
    names = sorted(name for name in definitions if not name.startswith("__"))
    names.sort(key=lambda name: name != DEFAULT)
    return {name: _signature(name, definitions[name]) for name in names}


def _signature(name: str, definition: Any) -> Signature:
    meaning = "tf.train.Example" if definition.method_name in OF_EXAMPLES else ""
    return Signature(name=name, inputs=_tensors(definition.inputs, meaning),
                     outputs=_tensors(definition.outputs, output=True))


def _tensors(infos: Mapping[str, Any], meaning: str = "", *, output: bool = False) -> tuple[Tensor, ...]:
    tensors = []
    for name, info in sorted(infos.items()):
        sizes = [size.size for size in info.tensor_shape.dim]
        tensor = described(name, tf.dtypes.as_dtype(info.dtype).name, sizes, output=output)
        tensors.append(tensor.model_copy(update={"meaning": meaning}))
    return tuple(tensors)
