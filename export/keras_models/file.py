"""Keras' own file format, written so that the same model gives the same bytes."""
from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etils import epy

from export.delivery.archive import write_zip
from export.errors import first_line
from export.keras_models.namesakes import hard_sigmoid_of_keras_2
from export.keras_models.tensorflow_function import function_class

with epy.lazy_imports():
    import keras

#: Functions that make known what a file may hold beside Keras' own: what models out of Keras 2 do, and what is added.
KNOWN: list[Callable[[], Any]] = [function_class, hard_sigmoid_of_keras_2]


def save(model: keras.Model, path: Path) -> None:
    """Save a model as a .keras file without the moment of saving and the memory addresses that Keras writes into it.

    Args:
        model: any Keras 3 model.
        path: ends in .keras.
    """
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(members["metadata.json"])
    members["metadata.json"] = json.dumps({"keras_version": metadata["keras_version"], "date_saved": ""}).encode()
    members["config.json"] = json.dumps(_renumber(json.loads(members["config.json"]), {})).encode()
    write_zip(path, members)


def _renumber(config: Any, numbers: dict[int, int]) -> Any:
    """Return the configuration with the identifiers of shared objects, which are memory addresses, counted from 0
    instead."""
    if isinstance(config, list):
        return [_renumber(value, numbers) for value in config]
    if isinstance(config, dict):
        return {key: numbers.setdefault(value, len(numbers)) if key == "shared_object_id" else _renumber(value, numbers)
                for key, value in config.items()}
    return config


def load(path: Path) -> keras.Model:
    """Return the model in a .keras file, uncompiled. Raises ValueError where the file cannot be read."""
    for make_known in KNOWN:
        make_known()
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # whatever a damaged file makes of Keras
        raise ValueError(f"{path} cannot be read as a Keras model: {why_unreadable(error)}") from error


def why_unreadable(error: Exception) -> str:
    """Return what Keras says of a model that it cannot read, in a line."""
    unknown = r"(?:Could not locate (?:class|function|object)|Unknown (?:layer|object):?) '?([\w>]+)'?"
    missing = re.search(unknown, str(error))
    if missing:
        return unregistered(missing[1])
    return first_line(error)


def unregistered(name: str) -> str:
    """Return what is said of a class that a model needs and that is not known here."""
    return (f"it needs {name}, which is not registered here. Replace it by Keras' own layers, or export the model "
            "where it is registered, model.export(FOLDER), and take that folder")
