"""Checkpoints: everything a training needs to go on as if it had never been interrupted."""
from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras
    import numpy as np

NAME = "checkpoint.npz"
#: Lists of arrays that callbacks may have.
REMEMBERED = ("best_weights", "averages")


def save(folder: Path, model: keras.Model, callbacks: Sequence[keras.callbacks.Callback], epochs_done: int, phase: int = 0) -> None:
    """Writes the weights, the optimizer's state and what the callbacks remember, in one rename.

    Args:
        phase: of the training; each has an optimizer of its own.
    """
    arrays = {f"variable.{number}": variable.numpy() for number, variable in enumerate(_variables(model))}
    memories = []
    for number, callback in enumerate(callbacks):
        memories.append({name: value for name, value in vars(callback).items() if isinstance(value, (bool, int, float))})
        for remembered in REMEMBERED:
            for place, weight in enumerate(getattr(callback, remembered, None) or []):
                arrays[f"{remembered}.{number}.{place}"] = weight
    state = {"epochs_done": epochs_done, "stopped": bool(model.stop_training), "memories": memories, "phase": phase}
    arrays["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    beside = folder / f"{NAME}.part"
    with open(beside, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
    beside.rename(folder / NAME)


def restore(folder: Path, model: keras.Model, callbacks: Sequence[keras.callbacks.Callback], phase: int = 0) -> None:
    """Brings back what `save` wrote, if anything; the optimizer's state only into the phase that it is of."""
    found = _read(folder)
    if found is None:
        return
    arrays, known = found
    for number, variable in enumerate(_variables(model) if known["phase"] == phase else model.variables):
        variable.assign(arrays[f"variable.{number}"])
    for number, (callback, memory) in enumerate(zip(callbacks, known["memories"], strict=True)):
        for name, value in memory.items():
            setattr(callback, name, value)
        for remembered in REMEMBERED:
            places = sorted((name for name in arrays if name.startswith(f"{remembered}.{number}.")),
                            key=lambda name: int(name.rpartition(".")[2]))
            if places:
                setattr(callback, remembered, [arrays[name] for name in places])


def progress(folder: Path) -> tuple[int, bool]:
    """How many epochs the checkpoint in `folder` stands for, 0 where there is none, and whether training had stopped by itself."""
    path = folder / NAME
    if not path.exists():
        return 0, False
    with np.load(path) as file:  # reads of an archive what it is asked for: not the weights
        known = json.loads(file["state"].tobytes())
    return known["epochs_done"], known["stopped"]


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    path = folder / NAME
    if not path.exists():
        return None
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, json.loads(arrays["state"].tobytes())


def _variables(model: keras.Model) -> list[Any]:
    """The model's variables, random seeds included, and the optimizer's, in either Keras."""
    own = model.optimizer
    own.build(model.trainable_variables)
    return [*model.variables, *(own.variables() if callable(own.variables) else own.variables)]
