"""The data of task `equivalence`: what a model made elsewhere is given, and what it answers in its own library."""
from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from etils import epy

from export.keras_models import original
from export.signature import Signature, shown
from pipelines.errors import UserError
from pipelines.tasks.equivalence import INPUT, OUTPUT

with epy.lazy_imports():
    import numpy as np

#: Of the draw of the examples that integer files are calibrated with: half of them.
SEED = 7


def write(model: Path, data: str, signature: Signature, target: Path) -> None:
    """Write what the original answers on the given inputs to an .npz file: all of it as the test part, and half of it,
    drawn at random, as the training part.

    Args:
        model: a Keras file, looked at before.
        data: an .npz file with an array for each input by its name, or an .npy file for the only input.
        signature: the model's inputs and outputs by name, in its order.

    Raises:
        UserError: an array is missing or of another shape, or the original does not take them.
    """
    given = _inputs(data, signature)
    try:
        answers = original.answers(model, list(given.values()))
    except ValueError as error:
        raise UserError(f"press: {error}") from error
    count = len(answers[0])
    calibrating = sorted(random.Random(SEED).sample(range(count), max(2, count // 2)))
    arrays = {f"{INPUT}{name}": values for name, values in given.items()}
    arrays |= {f"{OUTPUT}{tensor.name}": values for tensor, values in zip(signature.outputs, answers, strict=True)}
    parts: dict[str, Any] = {f"train_{name}": values[calibrating] for name, values in arrays.items()}
    parts |= {f"test_{name}": values for name, values in arrays.items()}
    np.savez(target, **parts)


def _inputs(data: str, signature: Signature) -> dict[str, np.ndarray]:
    """Return the arrays that a model takes, by name, in its types."""
    path = Path(data)
    wanted = ", ".join(f"{tensor.name} {shown((None, *tensor.shape))} {tensor.dtype}" for tensor in signature.inputs)
    if path.suffix not in (".npz", ".npy"):
        raise UserError(f"--data {data}: this model is not a classifier of images; give an .npz file with an array for "
                        f"each of its inputs: {wanted}")
    if not path.is_file():
        raise UserError(f"--data {data}: there is no such file")
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = dict(loaded) if path.suffix == ".npz" else {signature.inputs[0].name: loaded}
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"--data {data}: it cannot be read: {error}") from error
    if len(arrays) == 1 == len(signature.inputs):
        arrays = {signature.inputs[0].name: next(iter(arrays.values()))}
    result = {}
    for tensor in signature.inputs:
        if tensor.name not in arrays:
            raise UserError(f"--data {data}: it has no array {tensor.name}; it has {', '.join(arrays)}, and the model "
                            f"takes {wanted}")
        values = arrays[tensor.name]
        fits = values.ndim == len(tensor.shape) + 1 and all(size in (None, own) for size, own in zip(
            tensor.shape, values.shape[1:], strict=True))
        if not fits:
            raise UserError(f"--data {data}: {tensor.name} is of {shown(values.shape)}; the model takes {wanted}")
        result[tensor.name] = values.astype(tensor.dtype)
    counts = {name: len(values) for name, values in result.items()}
    if len(set(counts.values())) > 1 or min(counts.values()) < 4:
        listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise UserError(f"--data {data}: give as many examples of each input, and at least 4; it has {listed}")
    return result
