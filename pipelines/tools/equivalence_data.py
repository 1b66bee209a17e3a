"""The data of task `equivalence`: what a model made elsewhere is given, and what it answers in its own library."""
from __future__ import annotations

import random
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epy

from export.errors import first_line
from export.frameworks.program import Program
from export.keras_models import original
from export.keras_models.imported import plain
from export.keras_models.pixels import SCALING, Pixels
from export.signature import Signature, shown
from pipelines.errors import UserError
from pipelines.ingest.sources.table_file import ENDINGS
from pipelines.tasks.equivalence import INPUT, OUTPUT
from pipelines.tools.data_option import NUMPY, images_of
from pipelines.training.model_section import ImportedModel

with epy.lazy_imports():
    import numpy as np

#: Of the draw of the examples that integer files are calibrated with: half of them.
SEED = 7


def write(model: ImportedModel, data: str, signature: Signature, target: Path, *, reason: str = "",
          is_graph: bool = False, program: Program | None = None) -> None:
    """Write what the original answers on the given inputs to an .npz file: all of it as the test part, and half of it,
    drawn at random, as the training part.

    Args:
        model: looked at before; its `pixels` are the range that pictures are given in.
        data: an .npz file with an array for each input by its name, an .npy file for the only input, a .csv or .parquet
            file with a column for each, or a folder of pictures for the only one.
        signature: the model's inputs and outputs by name, in its order.
        reason: why the model is no classifier of images, where somebody may take it for one.
        is_graph: it is taken as one, see `as_graph.layer_by_layer`.
        program: the same model in the library that it was made with.

    Raises:
        UserError: an array is missing or of another shape, or the original does not take them.
    """
    given = _checked(data, _arrays(data, signature, model.pixels or "0..255", reason), signature)
    try:
        answers = original.answers(Path(model.path), list(given.values()), is_graph, model.allow_code, model.layout,
                                   program)
    except ValueError as error:
        raise UserError(f"press: {error}") from error
    count = len(answers[0])
    calibrating = sorted(random.Random(SEED).sample(range(count), max(2, count // 2)))
    arrays = {f"{INPUT}{name}": values for name, values in given.items()}
    arrays |= {f"{OUTPUT}{tensor.name}": values for tensor, values in zip(signature.outputs, answers, strict=True)}
    parts: dict[str, Any] = {f"train_{name}": values[calibrating] for name, values in arrays.items()}
    parts |= {f"test_{name}": values for name, values in arrays.items()}
    np.savez(target, **parts)


def _arrays(data: str, signature: Signature, pixels: Pixels, reason: str) -> dict[str, np.ndarray]:
    """Return what the data hold, by the names of the model's inputs where they have them. Raises UserError."""
    path, first = Path(data), signature.inputs[0]
    is_picture = len(signature.inputs) == 1 and len(first.shape) == 3 and None not in first.shape
    if path.is_dir() and is_picture:
        scale, offset = SCALING[pixels]
        return {first.name: images_of(data, first.shape) * scale + offset}  # type: ignore[arg-type]
    if path.suffix.lower() not in (*NUMPY, *ENDINGS):
        why = f" ({reason})" if reason else ""
        pictures = ", or a folder of pictures" if is_picture else ""
        raise UserError(f"--data {data}: this model is not a classifier of images{why}; give an .npz file with an "
                        f"array, or a .csv or .parquet file with a column, for each of its inputs{pictures}: "
                        f"{_listed(signature)}")
    if not path.is_file():
        raise UserError(f"--data {data}: there is no such file")
    if path.suffix.lower() in ENDINGS:
        arrays = _columns(path)
        if len(signature.inputs) == 1 and first.shape == (len(arrays),) and plain(first.name) not in arrays:
            return {first.name: np.stack(list(arrays.values()), axis=1)}
        return {name: values[:, None] if _rank(signature, name) == 1 else values
                for name, values in arrays.items()}
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = {plain(name): loaded[name] for name in loaded} if path.suffix == ".npz" else {first.name: loaded}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"--data {data}: it cannot be read: {first_line(error)}") from error
    return {first.name: next(iter(arrays.values()))} if len(arrays) == 1 == len(signature.inputs) else arrays


def _columns(path: Path) -> dict[str, np.ndarray]:
    """Return a table's columns of numbers, (rows,). Raises UserError."""
    columns = ENDINGS[path.suffix.lower()](path=str(path)).table_of(path).columns
    return {plain(name): values for name, values in columns.items() if values.dtype != object}


def _rank(signature: Signature, name: str) -> int | None:
    """Return how many axes an example of an input has, without the batch; None where there is no such input."""
    return next((len(tensor.shape) for tensor in signature.inputs if tensor.name == name), None)


def _listed(signature: Signature) -> str:
    return ", ".join(f"{tensor.name} {shown((None, *tensor.shape))} {tensor.dtype}" for tensor in signature.inputs)


def _checked(data: str, arrays: Mapping[str, np.ndarray], signature: Signature) -> dict[str, np.ndarray]:
    """Return the arrays that a model takes, by name, in its types. Raises UserError."""
    result = {}
    if texts := [tensor.name for tensor in (*signature.inputs, *signature.outputs) if tensor.dtype == "string"]:
        raise UserError(f"press: {texts[0]} is text, and models of text cannot be held against the original so far; "
                        "press the part of the model that takes numbers")
    for tensor in signature.inputs:
        if tensor.name not in arrays:
            hint = (". For a model of a table's columns, add --task tabular or \"tabular: regression\""
                    if Path(data).suffix.lower() in ENDINGS else "")
            raise UserError(f"--data {data}: it has no array {tensor.name}; it has {', '.join(arrays)}, and the model "
                            f"takes {_listed(signature)}{hint}")
        values = arrays[tensor.name]
        fits = values.ndim == len(tensor.shape) + 1 and all(size in (None, own) for size, own in zip(
            tensor.shape, values.shape[1:], strict=True))
        if not fits:
            raise UserError(f"--data {data}: {tensor.name} is of {shown(values.shape)}; the model takes "
                            f"{_listed(signature)}")
        if values.dtype.kind not in "fiub":
            raise UserError(f"--data {data}: {tensor.name} is not of numbers; the model takes {_listed(signature)}")
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            raise UserError(f"--data {data}: {tensor.name}[{int(finite.argmin())}] has a number that is infinite or "
                            f"none (NaN), as {int((~finite).sum())} of {len(values)} examples have; take them out")
        result[tensor.name] = values.astype(tensor.dtype)
    counts = {name: len(values) for name, values in result.items()}
    if len(set(counts.values())) > 1 or min(counts.values()) < 4:
        listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise UserError(f"--data {data}: give as many examples of each input, and at least 4; it has {listed}")
    return result
