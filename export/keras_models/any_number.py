"""Functions that are traced for one example, called with any number."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etils import epy

from export.frameworks.program import TOGETHER
from export.keras_models.imported import plain

with epy.lazy_imports():
    import tensorflow as tf


def called(loaded: Any, signature: Any, call: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]] | None:
    """Return what calls a signature with any number of examples; None where it is for one, and gives something that is
    not of one.

    Args:
        loaded: the SavedModel that it is of.
        call: of tensors by plain names, calls it.
    """
    if 1 not in {spec.shape[0] for spec in signature.structured_input_signature[1].values()}:
        return call
    if (together := getattr(loaded, TOGETHER, None)) is not None:
        return together  # type: ignore[no-any-return]
    given = {plain(name): spec for name, spec in signature.structured_outputs.items()}
    if any(spec.shape.rank is not None and spec.shape.as_list()[:1] not in ([1], [None]) for spec in given.values()):
        return None

    def of_one(tensors: dict[str, Any]) -> dict[str, Any]:
        return {name: value[0] for name, value in call(**{one: own[None] for one, own in tensors.items()}).items()}

    return lambda **tensors: tf.map_fn(of_one, tensors, fn_output_signature={
        name: tf.TensorSpec(spec.shape[1:], spec.dtype) for name, spec in given.items()})
