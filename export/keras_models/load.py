"""Keras models that were saved elsewhere, by any version of Keras, as Keras 3 models of float32 numbers."""
from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from etils import epy

from export.errors import first_line
from export.keras_models import bridge, float32, foreign_code, namesakes
from export.keras_models import file as keras_file

with epy.lazy_imports():
    import h5py
    import keras
    import tf_keras


def is_keras(path: Path) -> bool:
    """Return whether a file or folder holds a Keras model, of either library, and not a graph alone."""
    return path.suffix in foreign_code.KERAS or (path / "keras_metadata.pb").exists()


def load(path: Path) -> keras.Model:
    """Return the Keras 3 model in a .keras or .h5 file of Keras 2 or 3, or in a SavedModel folder of Keras 2.

    A file of Keras 2 is read by tf_keras and crosses the bridge. No code of the file is run.

    Raises:
        ForeignCodeError: it holds code, or reads other files.
        ValueError: it cannot be read, holds no weights, needs a class that is not registered, or cannot cross to
            Keras 3.
    """
    if not path.exists():
        raise ValueError(f"there is no model {path}")
    foreign_code.check(path)
    if h5py.is_hdf5(path):
        _check_whole(path)
    model = _from_tf_keras(path) if _is_keras_2(path) else keras_file.load(path)
    if not model.built or not model.weights:
        raise ValueError(f"{path} holds a model without weights: save it after it was trained")
    return float32.made_of(model)


def load_original(path: Path, allow_code: bool = False) -> Any:
    """Return the model in a Keras file or folder as the library that saved it has it, looked at before by
    `foreign_code.check`.

    Args:
        allow_code: let its code run: for a process of its own, which gives away a graph or numbers and nothing else.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        if _is_keras_2(path):
            with namesakes.known_names(bridged=False):
                return tf_keras.models.load_model(path, compile=False, safe_mode=not allow_code)
        return keras.models.load_model(path, compile=False, safe_mode=not allow_code)
    except Exception as error:  # whatever the code of the file does
        raise ValueError(f"{path} cannot be read as a Keras model: {keras_file.why_unreadable(error)}") from error


def _is_keras_2(path: Path) -> bool:
    """Return whether a file or folder was written by Keras 2 (or 1), by the version that it says."""
    if path.is_dir():
        return True
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                version = json.loads(archive.read("metadata.json")).get("keras_version", "3")
        except (KeyError, ValueError, AttributeError, zipfile.BadZipFile):
            return False  # Keras 3 says what is wrong with it
    else:
        with h5py.File(path, "r") as file:
            version = file.attrs.get("keras_version", "2")
    return _text(version).split(".")[0] in ("1", "2")


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _from_tf_keras(path: Path) -> keras.Model:
    loaded = load_original(path)
    if isinstance(loaded, tf_keras.Sequential) and not loaded.built:
        raise ValueError(f"{path} holds a Sequential model that does not know its input: build it, or call it once, "
                         "before it is saved")
    if not loaded.weights:
        raise ValueError(f"{path} holds a model without weights: save it after it was trained")
    try:
        return bridge.to_keras(loaded)
    except bridge.BridgeError:
        raise
    except Exception as error:  # whatever a damaged file makes of the layers
        raise bridge.BridgeError(f"{path} cannot be brought over to Keras 3: {first_line(error)}") from error


def _check_whole(path: Path) -> None:
    """Raise ValueError where an .h5 file does not hold a whole model, and says what it holds instead."""
    with h5py.File(path, "r") as file:
        whole, weights = "model_config" in file.attrs, "layer_names" in file.attrs or "layers" in file
    if not whole:
        content = "weights without their model" if weights else "no model"
        raise ValueError(f"{path} holds {content}: save the whole model, model.save(\"model.keras\")")
