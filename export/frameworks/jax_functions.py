"""Functions of JAX, and modules of Flax, as SavedModels, and asked in JAX."""
from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from etils import epy

from export.errors import first_line
from export.frameworks.program import TOGETHER
from export.keras_models.imported import plain
from export.signature import DEFAULT
from export.targets import tools

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Examples that are asked at once.
ASKED = 32


@dataclasses.dataclass(frozen=True)
class JaxFunction:
    """What a function makes, asked in JAX.

    Args:
        made_by: module:function.
    """

    made_by: str

    def answers(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what it answers, see `export.frameworks.program.Program`."""
        called = _called(self.made_by)
        parts = []
        for start in range(0, len(next(iter(inputs.values()))), ASKED):
            parts.append({name: np.asarray(value) for name, value in called(
                **{name: values[start:start + ASKED] for name, values in inputs.items()}).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def export(made_by: str, inputs: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write what a function makes as a SavedModel for one example, of which device files are made, whose sizes are then
    all known. What takes any number of examples is in it as the function `TOGETHER`, where JAX can say so. Its code is
    run.

    Args:
        made_by: module:function, found from this folder on; it gives a function of arrays, or a Flax module that is
            one.
        inputs: an example of what that takes, by the names of its parameters.
        folder: to be made.

    Raises:
        ValueError: JAX is not installed, there is no such function, or TensorFlow cannot take what it gives.
    """
    if missing := tools.missing("jax"):
        raise ValueError(f"{made_by}: {missing}")
    inputs = {plain(name): values for name, values in inputs.items()}
    called = _called(made_by)
    module = tf.Module()
    with contextlib.suppress(Exception):  # of JAX's and TensorFlow's own classes: it is not for any number
        setattr(module, TOGETHER, _converted(called, inputs, None)[0])
    try:
        module.call, concrete = _converted(called, inputs, 1)
        tf.saved_model.save(module, str(folder), signatures={DEFAULT: concrete})
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ValueError(f"{made_by} cannot be taken from JAX: {first_line(error)}") from error


def _converted(called: Callable[..., dict[str, Any]], inputs: Mapping[str, np.ndarray], batch: int | None
               ) -> tuple[Any, Any]:
    """Return a function of arrays by name as TensorFlow's, and traced.

    Args:
        batch: examples at a time; None for any number.
    """
    from jax.experimental import jax2tf

    names = list(inputs)
    shapes = ["(b, " + ", ".join(str(size) for size in inputs[name].shape[1:]) + ")" for name in names]
    converted = jax2tf.convert(lambda *arrays: called(**dict(zip(names, arrays, strict=True))), with_gradient=False,
                               polymorphic_shapes=shapes if batch is None else None)

    def call(**given: Any) -> Any:
        return converted(*(given[name] for name in names))

    function = tf.function(call, autograph=False)
    return function, function.get_concrete_function(**{
        name: tf.TensorSpec((batch, *inputs[name].shape[1:]), inputs[name].dtype, name) for name in names})


def _called(made_by: str) -> Callable[..., dict[str, Any]]:
    """Return what a function makes as one of arrays by plain names to such. Raises ValueError."""
    where, _, name = made_by.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        made = getattr(importlib.import_module(where), name)()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{made_by} cannot be had: {first_line(error)}") from error
    finally:
        sys.path.remove(os.getcwd())
    if not callable(made):
        raise ValueError(f"{made_by} gives a {type(made).__name__}; it must give a function of arrays, or a Flax "
                         "module with its parameters")
    parameters = [one.name for one in inspect.signature(made).parameters.values() if one.default is one.empty
                  and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]

    def call(**arrays: Any) -> dict[str, Any]:
        if len(arrays) == 1:
            return _named(made(*arrays.values()))
        if missing := [one for one in parameters if one not in arrays]:
            raise ValueError(f"{made_by} takes {', '.join(parameters)}; the data have {', '.join(arrays)}, not "
                             f"{missing[0]}")
        return _named(made(*(arrays[one] for one in parameters)))

    return call


def _named(outputs: Any) -> dict[str, Any]:
    """Return what a function gives, by names: those of a dict, or numbers."""
    if isinstance(outputs, Mapping):
        return {plain(str(name)): value for name, value in outputs.items()}
    listed = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    return {f"output_{number}" if len(listed) > 1 else "output": value for number, value in enumerate(listed)}
