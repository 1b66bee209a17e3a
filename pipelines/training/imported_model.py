"""Taking over a model that was made elsewhere, in the place of training one."""
from __future__ import annotations

from pathlib import Path

from etils import epy

from export.conversion import requantize
from export.keras_models import file as keras_file
from export.keras_models import imported
from export.predictors import LiteRTPredictor
from pipelines.errors import UserError
from pipelines.ingest import stream
from pipelines.stages.context import Context
from pipelines.training.model_section import ImportedModel

with epy.lazy_imports():
    import numpy as np

#: What the train stage leaves: a Keras model, or, of a model that is none, a float TFLite file.
KERAS, TFLITE = "model.keras", "model.tflite"
#: Training pictures that a model is tried on before it is taken over.
TRIED = 200


def trained(folder: Path) -> Path:
    """The model that the train stage left in a folder."""
    return folder / KERAS if (folder / KERAS).exists() else folder / TFLITE


def take_over(wanted: ImportedModel, context: Context) -> str:
    """Writes the model as the train stage would; a line about it.

    Raises:
        UserError: it cannot be read, does not fit the data, or seems to have learnt on pixels of another range.
    """
    path, index = Path(wanted.path), context.index()
    examples = stream.examples(context.recipe.data.source, index, context.recipe.data.image, "train").take(TRIED)
    images, labels = stream.arrays(examples)
    pixels = wanted.pixels or "0..255"
    try:
        if imported.is_keras(path):
            made = imported.load(path)
            suspicion = imported.wrong_range(made, pixels, images, labels if context.recipe.data.labels == "true" else None)
            model = imported.classifier(made, pixels)
            keras_file.save(model, context.work / KERAS)
            weights, outputs = f"{model.count_params():,} weights", model.output_shape[-1]
        else:
            suspicion = ""
            outputs = _take_over_graph(path, pixels, images, context.work)
            weights = f"{(context.work / TFLITE).stat().st_size:,} bytes"
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    if outputs != len(index.classes):
        raise UserError(f"model: {path} tells {outputs} classes apart, the data have {len(index.classes)}: {', '.join(index.classes[:5])}"
                        f"{', …' if len(index.classes) > 5 else ''}")
    if suspicion and wanted.pixels is None:
        raise UserError(f"model: {suspicion}. Say what it wants with --pixels, or model.pixels in a recipe")
    if suspicion:
        context.journal.note(f"pixels: {suspicion}")
    context.journal.parameters({"model": str(path), "pixels": pixels, "classes": outputs})
    return f"taken over from {path.name}, {weights}" + (f"; {suspicion}" if suspicion else "")


def _take_over_graph(path: Path, pixels: imported.Pixels, images: np.ndarray, folder: Path) -> int:
    """Writes a .tflite file, or a SavedModel that no Keras wrote, as a TFLite file from raw pixels to logits; its number of classes."""
    if path.suffix == ".tflite":
        if not path.is_file():
            raise ValueError(f"there is no model {path}")
        content = path.read_bytes()
    elif (path / "saved_model.pb").exists():
        content = imported.to_tflite(path)
    else:
        raise ValueError(f"{path} is no model: give a .keras, .h5 or .tflite file, or a SavedModel folder")
    try:
        (folder / TFLITE).write_bytes(requantize.normalized(content, *imported.SCALING[pixels]))
        predictor = LiteRTPredictor(folder / TFLITE)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    shape = tuple(map(int, next(iter(predictor.outputs.values()))["shape"]))
    if len(shape) != 2:
        raise ValueError(f"{path} gives {shape}; it must be (1, classes)")
    return shape[-1]
