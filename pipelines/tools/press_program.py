"""`litepress press` of models of PyTorch and JAX: what is read of them, and their own library to ask."""
from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from etils import epy

from export.frameworks import jax_functions, torch_programs
from export.onnx_models.reader import ENDING as ONNX
from export.onnx_models.saved import IMAGES
from export.onnx_models.values import to_first
from pipelines.engine import workers
from pipelines.errors import UserError
from pipelines.tools.data_option import NUMPY
from pipelines.tools.press_model import EQUIVALENCE, PressSettings

with epy.lazy_imports():
    import numpy as np


def settled(settings: PressSettings) -> PressSettings:
    """Return settings whose model is a file or folder that is read here, with the model in its own library beside it;
    as they are where the model is such already. Without --task such a model, and an ONNX file, is held against its own
    answers.

    Raises:
        UserError: the model cannot be taken.
    """
    if settings.model.suffix == ONNX:
        return dataclasses.replace(settings, task=settings.task or EQUIVALENCE)
    function = settings.torch or settings.jax
    if function is None and settings.model.suffix != torch_programs.ENDING:
        return settings
    if function is not None and ":" not in function:
        raise UserError(f"--{'torch' if settings.torch else 'jax'} {function}: give module:function, a function "
                        "without arguments in a file of this folder, which gives the model")
    settings.scratch.mkdir(parents=True, exist_ok=True)
    name = settings.name or (function.partition(":")[2] if function else settings.model.stem).lower()
    task = settings.task or EQUIVALENCE
    try:
        if settings.jax is not None:
            folder = settings.scratch / f"{name}.jax"
            workers.call(jax_functions.export, settings.jax, examples(settings.data), folder,
                         what=f"press: reading {settings.jax}")
            return dataclasses.replace(settings, model=folder, name=name, task=task,
                                       program=jax_functions.JaxFunction(settings.jax))
        program = settings.model
        if settings.torch is not None:
            program = settings.scratch / f"{name}{torch_programs.ENDING}"
            torch_programs.export(settings.torch, _channels_first(examples(settings.data), settings), program)
        elif not program.is_file():
            raise UserError(f"press: there is no model {program}")
        digest = hashlib.sha256(program.read_bytes()).hexdigest()[:12]
        file = settings.scratch / f"{name}-{digest}.onnx"
        if not file.exists():
            torch_programs.to_onnx(program, file)
        return dataclasses.replace(settings, model=file, name=name, task=task,
                                   program=torch_programs.TorchProgram(program, file))
    except ValueError as error:
        raise UserError(f"press: {error}") from error


def _channels_first(arrays: dict[str, np.ndarray], settings: PressSettings) -> dict[str, np.ndarray]:
    """Return arrays as PyTorch has them, where images are given in another layout."""
    return {name: values.transpose(to_first(values.ndim)) if settings.layout and values.ndim == IMAGES else values
            for name, values in arrays.items()}


def examples(data: str) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz or .npy file, which say what a function takes. Raises UserError."""
    path = Path(data)
    if path.suffix not in NUMPY or not path.is_file():
        raise UserError(f"--data {data}: give an .npz or .npy file of the model's inputs; their shapes are those that "
                        "the model is exported for")
    try:
        loaded = np.load(path, allow_pickle=False)
        return {name: loaded[name] for name in loaded} if path.suffix == ".npz" else {"input": loaded}
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"--data {data}: it cannot be read") from error
