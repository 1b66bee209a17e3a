"""Checkpoints: everything a training needs to go on as if it had never been interrupted."""
from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy

from pipelines.engine.store import whole

with epy.lazy_imports():
    import numpy as np

NAME = "checkpoint.npz"
#: Lists of arrays that callbacks may have.
REMEMBERED = ("best_weights", "averages")


def save(folder: Path, model: Any, callbacks: Sequence[Any], epochs_done: int, phase: int = 0) -> None:
    """Write the weights, the optimizers' state and what the callbacks remember, in one rename.

    Args:
        model: of either Keras. Where it has several optimizers, it lists them, built, as `optimizers`.
        phase: of the training; each has optimizers of its own.
    """
    arrays = {f"variable.{number}": variable.numpy() for number, variable in enumerate(_variables(model))}
    memories = []
    for number, callback in enumerate(callbacks):
        attributes = vars(callback).items()
        memories.append({name: value for name, value in attributes if isinstance(value, (bool, int, float))})
        for remembered in REMEMBERED:
            for position, weight in enumerate(getattr(callback, remembered, None) or []):
                arrays[f"{remembered}.{number}.{position}"] = weight
    state = {"epochs_done": epochs_done, "stopped": bool(model.stop_training), "memories": memories, "phase": phase}
    arrays["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    with whole(folder / NAME) as path, open(path, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())


def restore(folder: Path, model: Any, callbacks: Sequence[Any], phase: int = 0) -> None:
    """Bring back what `save` wrote, if anything; the optimizers' state only into the phase that it is of."""
    path = folder / NAME
    if not path.exists():
        return
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    state = json.loads(arrays["state"].tobytes())
    variables = _variables(model) if state["phase"] == phase else model.variables
    for number, variable in enumerate(variables):
        variable.assign(arrays[f"variable.{number}"])
    for number, (callback, memory) in enumerate(zip(callbacks, state["memories"], strict=True)):
        for name, value in memory.items():
            setattr(callback, name, value)
        for remembered in REMEMBERED:
            if weights := _numbered(arrays, f"{remembered}.{number}."):
                setattr(callback, remembered, weights)


def progress(folder: Path) -> tuple[int, bool]:
    """Return how many epochs the checkpoint in a folder stands for, 0 without one, and whether training had stopped by
    itself."""
    path = folder / NAME
    if not path.exists():
        return 0, False
    with np.load(path) as file:  # reads of an archive what it is asked for: not the weights
        state = json.loads(file["state"].tobytes())
    return state["epochs_done"], state["stopped"]


def optimizers(model: Any) -> list[Any]:
    """Return all optimizers of a compiled model: most have one."""
    return list(getattr(model, "optimizers", None) or [model.optimizer])


def _numbered(arrays: dict[str, Any], prefix: str) -> list[Any]:
    """Return the arrays whose names are the prefix and a number, by number."""
    names = [name for name in arrays if name.startswith(prefix)]
    return [arrays[name] for name in sorted(names, key=lambda name: int(name.removeprefix(prefix)))]


def _variables(model: Any) -> list[Any]:
    """Return the model's variables, random seeds included, and its optimizers', in either Keras."""
    variables = list(model.variables)
    if not getattr(model, "optimizers", None):
        model.optimizer.build(model.trainable_variables)
    for optimizer in optimizers(model):
        variables += optimizer.variables() if callable(optimizer.variables) else optimizer.variables
    return variables
