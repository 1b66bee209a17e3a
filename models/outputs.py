"""The named inputs and outputs of a model, and what of it ships."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras
    import tf_keras

#: How the names begin of outputs that only training looks at.
AUXILIARY = "auxiliary"


def library_of(model: Any) -> Any:
    """Return the library that a model is of: keras, or tf_keras, whose layers and models others are made with."""
    return keras if isinstance(model, keras.Model) else tf_keras


def named_inputs(model: Any) -> dict[str, Any]:
    """Return the symbolic inputs of a functional or Sequential model of either Keras, by the names of its `Input`s."""
    return _named(None if isinstance(model, keras.Sequential) else model.input, model.inputs, "input")


def named_outputs(model: Any) -> dict[str, Any]:
    """Return the symbolic outputs of a functional or Sequential model of either Keras, by name.

    A dict has its own names. A bare tensor, or one of a list, is called after the layer or operation that it comes out
    of; where tfmot has wrapped that layer, after the layer.

    Raises:
        ValueError: two outputs have one name.
    """
    return _named(None if isinstance(model, keras.Sequential) else model.output, model.outputs, "output")


def cut(model: keras.Model, outputs: Sequence[str]) -> keras.Model:
    """Return the model with some of its outputs alone: what ships of one that trains with auxiliary heads. It shares
    layers.

    Args:
        outputs: the names of those that stay. A model that has just these is returned as it is. Else one alone ships
            bare, where its layer bears its name, and several as a dict.

    Raises:
        ValueError: the model has no such output.
    """
    named = named_outputs(model)
    if missing := [name for name in outputs if name not in named]:
        raise ValueError(f"{model.name} has no output {missing[0]}; it has {', '.join(named)}")
    if set(outputs) == set(named):
        return model
    kept = {name: named[name] for name in outputs}
    name, tensor = next(iter(kept.items()))
    bare = len(kept) == 1 and _operation(tensor).name == name
    return keras.Model(model.input, tensor if bare else kept, name=model.name)


def _named(structure: Any, tensors: Sequence[Any], kind: str) -> dict[str, Any]:
    """Return tensors by name: those of a dict's structure, which a Sequential model does not have, or their layers'."""
    if isinstance(structure, Mapping):
        return dict(structure)
    names = [_name(tensor) for tensor in tensors]
    if repeated := [name for position, name in enumerate(names) if name in names[:position]]:
        raise ValueError(f"two {kind}s of the model are called {repeated[0]}: give them as a dict, name to tensor")
    return dict(zip(names, tensors, strict=True))


def _name(tensor: Any) -> str:
    operation = _operation(tensor)
    wrapped = getattr(getattr(operation, "layer", None), "name", None)  # tfmot's: quant_logits, cluster_logits
    return wrapped if wrapped and operation.name.endswith(f"_{wrapped}") else operation.name


def _operation(tensor: Any) -> Any:
    """Return what a symbolic tensor comes out of: an operation of Keras 3, or a layer of tf_keras."""
    history = tensor._keras_history
    return history.operation if hasattr(history, "operation") else history.layer
