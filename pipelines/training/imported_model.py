"""Taking over a model that was made elsewhere, in the place of training one."""
from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

import models
from export.keras_models import as_graph
from export.keras_models import file as keras_file
from export.keras_models.load import is_keras
from export.keras_models.pixels import wrong_range
from export.onnx_models.reader import ENDING as ONNX
from export.predictors import open_predictor
from export.predictors.litert import LiteRTPredictor
from pipelines.engine import workers
from pipelines.engine.journal import Journal
from pipelines.errors import UserError
from pipelines.training.class_order import other_order
from pipelines.training.model_section import ImportedModel

with epy.lazy_imports():
    import keras
    import numpy as np

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

#: What the train stage leaves: a Keras model, or a float TFLite file of a model that is not one.
KERAS, TFLITE = "model.keras", "model.tflite"
#: What it leaves beside such a file: the same model as a SavedModel, where it can be one.
SERVED = "saved_model"
#: Training images that a model is tried on before it is taken over.
TRIED = 200

#: Output name to shape, without the batch.
Shapes = Mapping[str, tuple[int | None, ...]]


def trained(folder: Path) -> Path:
    """Return the model that the train stage left in a folder."""
    return folder / KERAS if (folder / KERAS).exists() else folder / TFLITE


def take_over(section: ImportedModel, data: Data, folder: Path, journal: Journal) -> str:
    """Write the model as the train stage would; return a line about it.

    Args:
        data: what it is to be measured on.
        folder: for the model's file.
        journal: receives what is known of it.

    Raises:
        UserError: it cannot be read, does not fit the data, or seems to have learnt on pixels of another range.
    """
    path = Path(section.path)
    suspicion = fixed = ""
    try:
        loaded, reason = ((None, str(section.head)) if section.head is not None
                          else as_graph.layer_by_layer(path, section.allow_code))
        if loaded is not None:
            suspicion = _wrong_range(loaded, section, data)
            _check_columns(section, data)
            model = data.task.adopt(loaded, section)
            keras_file.save(model, folder / KERAS)
            shapes: Shapes = {name: tuple(tensor.shape[1:]) for name, tensor in models.named_outputs(model).items()}
            size, fixed = f"{model.count_params():,} weights", _fixed(model, data)
        else:
            shapes = _take_over_graph(section, data, folder)
            told = is_keras(path) or section.head is not None
            size = f"{(folder / TFLITE).stat().st_size:,} bytes" + (f"; as a graph, {reason}" if told else "")
        _check_outputs(path, shapes, data)
        order = _other_order(data, folder)
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    if suspicion and section.pixels is None:
        raise UserError(f"model: {suspicion}. Say what it wants with --pixels, or model.pixels in a recipe")
    if suspicion:
        journal.note(f"pixels: {suspicion}")
    fixed = fixed or _channels_first(section, data)
    for note in filter(None, (order, fixed)):
        journal.note(note)
    journal.parameters(_about(section, data))
    return f"taken over from {path.name}, {size}" + "".join(f"; {one}" for one in (suspicion, order, fixed) if one)


def _check_columns(section: ImportedModel, data: Data) -> None:
    """Raise ValueError where the recipe gives the model columns that are not the data's inputs."""
    if section.columns and set(section.columns) != set(data.index.inputs):
        raise ValueError(f"columns are {', '.join(section.columns)}, and the inputs of the data are "
                         f"{', '.join(data.index.inputs)}: name these, in the order in which the model takes them")


def _about(section: ImportedModel, data: Data) -> dict[str, Any]:
    about: dict[str, Any] = {"model": section.path}
    if _image(data) is not None:
        about["pixels"] = section.pixels or "0..255"
    if labels := data.task.labels(data.index):
        about["classes"] = len(labels)
    return about


def _image(data: Data) -> str | None:
    """Return the name of the only input, where that is an image: what is known of pixels holds for no other task."""
    inputs = list(data.index.inputs.values())
    return inputs[0].name if len(inputs) == 1 and inputs[0].role == "image" else None


def _wrong_range(model: keras.Model, section: ImportedModel, data: Data) -> str:
    """Return why a model seems to have learnt on pixels of another range; empty where it does not, or sees no
    pixels."""
    image = _image(data)
    if image is None:
        return ""
    inputs, targets = data.arrays("train", TRIED)
    return wrong_range(model, section.pixels or "0..255", inputs[image], _classes(targets, data))


def _classes(targets: Mapping[str, np.ndarray], data: Data) -> np.ndarray | None:
    """Return one class per example, where the data have such and know them."""
    whole = [name for name, tensor in data.index.targets.items() if tensor.shape == () and data.index.names(name)]
    return targets[whole[0]] if whole and data.section.labels == "true" else None


def _other_order(data: Data, folder: Path) -> str:
    """Return why the classes of what was taken over seem to be in another order than the data's; empty where they do
    not, or the data have none."""
    names = data.task.labels(data.index)
    if not names or data.section.labels != "true":
        return ""
    inputs, targets = data.arrays("train", TRIED)
    classes = _classes(targets, data)
    if classes is None:
        return ""
    decided = data.task.decision(open_predictor(trained(folder)).predict(inputs))
    return "" if decided is None else other_order(np.asarray(decided, int), np.asarray(classes, int), names)


def _take_over_graph(section: ImportedModel, data: Data, folder: Path) -> Shapes:
    """Write a model that is taken as a graph as a TFLite file from raw pixels; return its outputs' shapes."""
    path = Path(section.path)
    content = workers.isolated(tflite_of, section, data, what=f"reading {path}")
    workers.isolated(serve, section, data, folder / SERVED, what=f"reading {path}")
    try:
        (folder / TFLITE).write_bytes(content)
        predictor = LiteRTPredictor(folder / TFLITE)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    signature = next(iter(predictor.signatures.values()))
    return {tensor.name: tensor.shape for tensor in signature.outputs}


def tflite_of(section: ImportedModel, data: Data) -> bytes:
    """Return a model that is taken as a graph as a TFLite file. Raises UserError where it cannot be taken over."""
    try:
        return data.task.adopt_graph(section, data.index)
    except ValueError as error:
        raise UserError(f"model: {error}") from error


def serve(section: ImportedModel, data: Data, folder: Path) -> None:
    """Write a model that is taken as a graph as a SavedModel, where it can be one."""
    try:
        data.task.serve_graph(section, data.index, folder)
    except ValueError:  # of a graph that is not saved again, which the target says
        shutil.rmtree(folder, ignore_errors=True)


def _check_outputs(path: Path, shapes: Shapes, data: Data) -> None:
    """Raise ValueError where a model does not give what the task wants."""
    classes = data.task.labels(data.index)
    for tensor in data.task.outputs(data.index):
        if tensor.name not in shapes:
            raise ValueError(f"{path} has no output {tensor.name}; it gives {', '.join(shapes)}")
        shape = shapes[tensor.name]
        if len(shape) == len(tensor.shape) and all(map(_fits, shape, tensor.shape)):
            continue
        if classes and len(shape) == len(tensor.shape) == 1 and shape[0]:
            raise ValueError(f"{path} has {shape[0]} classes, but the data have {len(classes)}: "
                             f"{', '.join(classes[:5])}{', …' if len(classes) > 5 else ''}. Give data of its classes; "
                             "or task equivalence (press --task equivalence), where its own answers are what counts")
        raise ValueError(f"{path} gives {tensor.name} of {_shown(shape)}; it must be {_shown(tensor.shape)}")


def _fits(size: int | None, wanted: int | None) -> bool:
    return size is None or size == wanted


def _fixed(model: keras.Model, data: Data) -> str:
    """Return which sizes a model leaves open and the data fix: files for phones have them; empty where there are
    none."""
    given = models.named_inputs(model)
    fixed = [f"{name} {_shown(tensor.shape)}" for name, tensor in data.index.inputs.items()
             if name in given and None in given[name].shape[1:]]
    return f"files for phones take {', '.join(fixed)}, as the data are; the model leaves sizes open" if fixed else ""


def _channels_first(section: ImportedModel, data: Data) -> str:
    """Return that images are channels first in what was made of an ONNX file; empty where they are not."""
    shapes = [tensor.shape for tensor in data.index.inputs.values()]
    first = [shape for shape in shapes if len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3)]
    if not first or section.layout is not None or Path(section.path).suffix != ONNX:
        return ""
    return f"images are channels first, {_shown(first[0])}, as in the original; --layout nhwc turns them"


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join(["1", *("?" if size is None else str(size) for size in shape)]) + ")"
