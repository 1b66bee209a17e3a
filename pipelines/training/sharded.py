"""Training of a model that is divided among devices: each holds a part of every weight, of its gradient and of the
optimizer's state, and a part of the batch (Rajbhandari et al., "ZeRO", 2020; Xu et al., "GSPMD", 2021).

Keras does this on JAX (`keras.distribution`), so it happens in a process of its own, whose Keras computes by JAX: the
weights go there, and come back.
"""
from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.targets import tools
from pipelines.errors import StageError, UserError
from pipelines.training.distribution import VIRTUAL

with epy.lazy_imports():
    import numpy as np

EXTRA = "jax"
#: The module that is run, with the folder that the files lie in.
WORKER = "pipelines.stages.sharded_worker"
JOB, BEGIN, TRAINED = "job.pickle", "begin.npz", "trained.npz"
#: Families of models whose layers are known to be divided well.
FAMILIES = ("gpt", "llama")
#: Lines of a worker's errors that are kept.
LAST = 20


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker is to train.

    Args:
        written: the recipe, as plain data.
        data: `pipelines.ingest.data.Data`.
        rates: the learning rate of each step, float32 (steps,).
        devices: how many take part; all that there are where not given.
    """

    written: dict[str, Any]
    data: Any
    rates: Any
    devices: int | None = None


@dataclasses.dataclass(frozen=True)
class Devices:
    """What a training was divided among.

    Args:
        replicas: how many devices.
        bytes: of weights and optimizer together, and `bytes_per_device` what each of them held.
    """

    replicas: int
    bytes: int
    bytes_per_device: int
    kind: str = "sharded"


def check(family: str) -> None:
    """Raise UserError where models of a builder's family cannot be trained so, or JAX is not there."""
    if family not in FAMILIES:
        raise UserError(f"train.strategy: sharded is for the language models {' and '.join(FAMILIES)}, and "
                        f"model.builder is of {family}; use strategy: mirrored")
    if absent := tools.missing(EXTRA):
        raise UserError(f"train.strategy: sharded: {absent}")


def fit(job: Job, weights: Sequence[np.ndarray], folder: Path,
        epoch_done: Callable[[int, dict[str, float]], None]) -> tuple[list[np.ndarray], Devices]:
    """Train a model in a worker; return its weights, and what they were divided among.

    Args:
        weights: to begin with, as the model's `get_weights` has them.
        folder: for the files that go there and come back.
        epoch_done: called with the number of each epoch, from 0, and its metrics.

    Raises:
        UserError: there are not two devices, or the loss is no longer a number.
        StageError: the worker failed.
    """
    errors = folder / "sharded.txt"
    try:
        (folder / JOB).write_bytes(pickle.dumps(job))
        np.savez(folder / BEGIN, *weights)
        with open(errors, "w") as log:
            process = subprocess.Popen([sys.executable, "-m", WORKER, str(folder)], env=_environment(), text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
            assert process.stdout is not None
            devices = None
            for line in process.stdout:
                event = json.loads(line) if line.startswith('{"event"') else {}
                if event.get("event") == "epoch":
                    epoch_done(event["epoch"], event["metrics"])
                elif event.get("event") == "divided":
                    devices = Devices(**event["devices"])
                elif event.get("event") == "refused":
                    process.wait()
                    raise UserError(event["reason"])
        if process.wait() or devices is None:
            last = "\n".join(errors.read_text().splitlines()[-LAST:])
            raise StageError(f"train: the process of strategy: sharded ended with code {process.returncode}:\n{last}")
        with np.load(folder / TRAINED) as trained:
            result = [trained[name] for name in trained.files]
        return result, devices
    finally:
        for name in (JOB, BEGIN, TRAINED, errors.name):
            (folder / name).unlink(missing_ok=True)


def _environment() -> dict[str, str]:
    """Return the environment of a worker: JAX in place of TensorFlow, on processors that look like several where that
    is asked for."""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "2"}
    if virtual := os.environ.get(VIRTUAL):
        flags = f"{environment.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={virtual}"
        environment |= {"XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"}
    return environment
