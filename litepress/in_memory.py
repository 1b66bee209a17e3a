"""Models and data that are in memory, as the files that `litepress press` takes.

A file is named after what it holds, so that what was made of the same model or data before is found again.
"""
from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from etils import epy

from export.errors import first_line
from export.keras_models import file as keras_file
from export.keras_models.load import load
from pipelines.engine import workers
from pipelines.engine.store import writable
from pipelines.errors import UserError

with epy.lazy_imports():
    import numpy as np

#: What `press` takes, for an error.
MODELS = "a Keras model, or the path of a .keras, .h5, .tflite, .onnx, .pt2 or .pb file or of a SavedModel folder"
DATA = ("images, (x, y), ((x_train, y_train), (x_test, y_test)), a mapping of the model's inputs, a data frame, or the "
        "path of a folder or file")


class Given(NamedTuple):
    """A model's file or folder, and what its runs are called, where that is not the file's name."""

    path: Path
    name: str | None


def model_file(model: Any, folder: Path) -> Given:
    """Return the file of a model: of a path itself, of a Keras model one that is written into a folder; none of None.

    A model of Keras' own layers is saved by Keras. One that others cannot read, since it has layers or functions of its
    own, is exported as a SavedModel, where it is known what they do.

    Raises:
        UserError: it is neither, or cannot be saved.
    """
    if model is None or isinstance(model, (str, os.PathLike)):
        return Given(Path(model or ""), None)
    library = next((name for name in ("keras", "tf_keras")
                    if name in sys.modules and isinstance(model, sys.modules[name].Model)), None)
    if library is None:
        raise UserError(f"press: the model is a {type(model).__module__}.{type(model).__qualname__}; give {MODELS}")
    if not model.built or not model.weights:
        raise UserError(f"press: the model {model.name} has no weights yet; train it, or build it and set them")
    name = re.sub(r"[^a-z0-9_-]+", "_", model.name.lower()).strip("_-") or "pressed"
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        path = Path(work) / ("model.keras" if library == "keras" else "model.h5")
        if not _save(model, path) or workers.call(why_unreadable, path, what="press: reading the model"):
            path = path.with_suffix("")
            _export(model, path)
        return Given(_moved(path, folder, name), name)


def why_unreadable(path: Path) -> str:
    """Return why a Keras file cannot be read where nothing of its maker is known; nothing where it can."""
    try:
        load(path)
    except ValueError as error:
        return str(error)
    return ""


def data_file(data: Any, folder: Path) -> str:
    """Return what `--data` takes: text and paths as they are, of arrays or a data frame a file that is written into a
    folder. Raises UserError where it is something else."""
    if isinstance(data, (str, os.PathLike)):
        return os.fspath(data)
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if hasattr(data, "to_csv"):
        text = data.to_csv(index=False)
        path = folder / f"table-{hashlib.sha256(text.encode()).hexdigest()[:12]}.csv"
        if not path.exists():
            path.write_text(text)
        return str(path)
    arrays = _arrays(data)
    digest = hashlib.sha256()
    for name, values in arrays.items():
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    path = folder / f"arrays-{digest.hexdigest()[:12]}.npz"
    if not path.exists():
        beside = path.with_name(f".{os.getpid()}.{path.name}")
        with writable(path):
            np.savez(beside, **arrays)  # type: ignore[arg-type]  # its stub takes the names for its own settings
            beside.rename(path)
    return str(path)


def _arrays(data: Any) -> dict[str, np.ndarray]:
    """Return arrays under the names that the command knows them by. Raises UserError."""
    if isinstance(data, Mapping):
        named = {str(name): values for name, values in data.items()}
    elif isinstance(data, tuple) and len(data) == 2 and all(isinstance(part, tuple) and len(part) == 2
                                                            for part in data):
        (x_train, y_train), (x_test, y_test) = data
        named = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    elif isinstance(data, tuple) and len(data) == 2:
        named = {"x": data[0], "y": data[1]}
    elif hasattr(data, "__array__"):
        named = {"x": data}
    else:
        raise UserError(f"press: the data are a {type(data).__name__}; give {DATA}")
    return {name: _array(name, values) for name, values in named.items()}


def _array(name: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise UserError(f"press: {name} of the data is not an array: {first_line(error)}") from error
    if array.dtype == object and all(isinstance(value, str) for value in array.flat):
        array = array.astype(str)
    if array.dtype == object or not array.ndim:
        raise UserError(f"press: {name} of the data is {type(values).__name__} {values!r:.40}; give an array of "
                        "numbers or words, with an entry for each example")
    return array


def _save(model: Any, path: Path) -> bool:
    """Save a model by its library; return whether it could be."""
    try:
        if path.suffix == ".keras":
            keras_file.save(model, path)
        else:
            model.save(path, include_optimizer=False)
    except Exception:  # whatever its own layers make of it
        return False
    return True


def _export(model: Any, folder: Path) -> None:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a page
            model.export(str(folder))
    except Exception as error:  # whatever its own layers make of it
        raise UserError(f"press: the model {model.name} can neither be saved nor exported: {first_line(error)}"
                        ) from error


def _moved(path: Path, folder: Path, name: str) -> Path:
    """Return a file or folder where it lies under a name that tells what it holds, moved there where it is new."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.relative_to(path.parent).as_posix().encode() + b"\0" + file.read_bytes())
    target = folder / f"{name}-{digest.hexdigest()[:12]}{path.suffix}"
    if not target.exists():
        path.rename(target)
    return target
