"""`litepress press`: models and data that were made elsewhere: those that tell classes of images or of their pixels
apart, and any other by what it answers."""
from __future__ import annotations

import dataclasses
import functools
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etils import epy
from pydantic import BaseModel, ValidationError

from export.keras_models import as_graph, graph, imported, other_files
from export.keras_models import file as keras_file
from export.keras_models.pixels import SCALING, Pixels
from export.predictors import open_predictor
from export.signature import Signature, shown
from export.tflite import edit, signatures
from pipelines.engine import workers
from pipelines.engine.store import whole
from pipelines.errors import UserError
from pipelines.ingest import Source
from pipelines.ingest.sources.array_file import Arrays
from pipelines.ingest.sources.image_and_mask_folder import ImageAndMaskFolder
from pipelines.recipe.file import in_words
from pipelines.recipe.recipe import Recipe
from pipelines.reporting.results import Results
from pipelines.tasks.image_classification import IMAGE, OUTPUT, ImageClassification
from pipelines.tasks.object_detection import ObjectDetection
from pipelines.tasks.semantic_segmentation import SemanticSegmentation
from pipelines.tasks.tabular.choice import TARGET
from pipelines.tasks.tabular.task import Tabular
from pipelines.tasks.task import Task
from pipelines.tools import equivalence_data, press_detector, table_data
from pipelines.tools.data_option import images_of, is_unlabelled, source_of
from pipelines.tools.written_option import listed, one_of
from pipelines.training.model_section import FILE, ImportedModel

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    import keras

#: What is made where nothing else is asked for: of a Keras model with labelled data, and otherwise.
TRAINABLE, FIXED = "float32,float16,dynamic,auto", "float32,float16,dynamic,int8"
#: The range of pixels that is taken where none is given.
USUAL: Pixels = "0..255"
#: The task of a model of which nothing is known but what it answers.
EQUIVALENCE = "equivalence"
DETECTION = str(ObjectDetection.entry_name)
#: What a model can be measured as where the data have what it should answer.
TASKS: dict[str, type[Task]] = {str(task.entry_name): task for task in (ImageClassification, SemanticSegmentation)}
#: Files for phones that take what the model takes, grey images too.
AS_IT_IS: dict[str, Any] = {"litert": {"rgb": False}}


@dataclasses.dataclass(frozen=True)
class PressSettings:
    """What to press, and how.

    Args:
        model: a .keras, .h5, .tflite or .pb file, or a SavedModel folder.
        data: see `pipelines.tools.data_option`.
        scratch: folder where images without labels get the model's own answers.
        variants, targets: as a recipe's lists name them, with commas between; the usual ones where not given.
        pixels: the range that the model was trained on, where it is known.
        name: of the runs; made from the file's where not given.
        allow_code: run the code that the model's file holds, in a process of its own.
        task: image_classification, semantic_segmentation, tabular or equivalence, as a recipe has it; where not given
            the first for those that are such, else the last.
        target: the column of a table that the model answers, where it has another name than a table's usual one.
    """

    model: Path
    data: str
    scratch: Path
    variants: str | None = None
    targets: str | None = None
    pixels: Pixels | None = None
    name: str | None = None
    allow_code: bool = False
    task: str | None = None
    target: str | None = None


class ModelShape(BaseModel):
    """What a model takes and gives.

    Args:
        is_keras: it is taken layer by layer, and not as a graph.
        shape, classes: of a classifier of images or of their pixels, (height, width, channels) and how many.
        signature: of any other model; equivalence is its task.
        reason: why it is no classifier of images, where that was looked at.
    """

    is_keras: bool
    shape: tuple[int, int, int] = (0, 0, 0)
    classes: int = 0
    signature: Signature | None = None
    reason: str = ""


def recipe_for(settings: PressSettings) -> Recipe:
    """Return the recipe that presses a model.

    Raises:
        UserError: the model or the data cannot be read, or do not go together.
    """
    model = settings.model
    if not model.exists():
        raise UserError(f"press: {other_files.why_not(model)}")
    named = _task(settings.task)
    if named == DETECTION:
        return _recipe(press_detector.document(
            settings.model, settings.data, settings.pixels, settings.allow_code, name=_name(settings),
            variants=listed(settings.variants or FIXED, "--variants"), targets=_targets(settings, is_keras=False)),
            model)
    if named != str(Tabular.entry_name) and settings.target is not None:
        raise UserError(f"--target-column {settings.target}: only tables have one; add --task tabular or "
                        "\"tabular: regression\", or leave it out")
    if named == str(Tabular.entry_name) and settings.pixels is not None:
        raise UserError(f"--pixels {settings.pixels}: a table has no pixels; leave it out")
    described = workers.call(describe, model, settings.allow_code, named, what="press: reading the model")
    if named == str(Tabular.entry_name):
        return _tabular(settings, described)
    if described.signature is not None:
        return _equivalence(settings, described, described.signature)
    task = TASKS[named or str(ImageClassification.entry_name)]
    labels: Literal["true", "model"] = "model" if task is ImageClassification and is_unlabelled(
        settings.data) else "true"
    features: dict[str, Any] = {"image": {"size": list(described.shape[:2]), "channels": described.shape[2]}}
    if task is SemanticSegmentation:
        source: Source = (ImageAndMaskFolder(path=settings.data) if Path(settings.data).is_dir()
                          else source_of(settings.data))
        features["mask"] = {"classes": described.classes}
    else:
        source = (_labelled_by_model(settings, described) if labels == "model"
                  else source_of(settings.data).of_model(described.classes))
    variants = settings.variants or (TRAINABLE if described.is_keras and labels == "true" else FIXED)
    targets = [AS_IT_IS if one == "litert" else one for one in _targets(settings, described.is_keras)]
    batch = max(1, min(64, (source.size("train") or 640) // 10))
    recipe = _recipe({
        "name": _name(settings), "task": str(task.entry_name),
        "data": {"source": source.written(), **features, "labels": labels, "batch": batch},
        "model": {"builder": FILE, "path": str(model), **({"pixels": settings.pixels} if settings.pixels else {}),
                  **({"allow_code": True} if settings.allow_code else {})},
        "compress": {"variants": listed(variants, "--variants")}, "export": {"targets": targets}}, model)
    trained = [variant.title for variant in recipe.compress.variants if variant.learns]
    if labels == "model" and trained:
        raise UserError(f"--variants {', '.join(trained)}: trains, and {settings.data} has no labels to learn from. "
                        "Give labelled data, or variants that do not train: float32, float16, dynamic, int8")
    return recipe


def describe(model: Path, allow_code: bool, task: str | None = None) -> ModelShape:
    """Return what a model takes and gives.

    Args:
        task: see `PressSettings`.

    Raises:
        UserError: it cannot be read, or is not of that task.
    """
    try:
        loaded, reason = as_graph.layer_by_layer(model, allow_code)
        if loaded is None:
            if task == str(Tabular.entry_name):
                raise ValueError(f"{model}: for tables only Keras models can be taken over, layer by layer; {reason}")
            return _described(task, lambda: signatures.main(_normalized(model, USUAL, allow_code)).signature(),
                              lambda: as_graph.signature_of(model, allow_code), is_keras=False)
        section = ImportedModel(path=str(model))
        if task == str(Tabular.entry_name):
            return ModelShape(is_keras=True, signature=imported.signature_in_order(loaded))
        adopt = TASKS[task]().adopt if task in TASKS else ImageClassification().adopt
        return _described(task, lambda: graph.signature_of(adopt(loaded, section)),
                          lambda: imported.signature_in_order(loaded), is_keras=True)
    except ValueError as error:
        message = str(error)
        raise UserError(f"press: {message if str(model) in message else f'{model}: {message}'}") from error


def _described(task: str | None, classifier: Callable[[], Signature], any_model: Callable[[], Signature],
               is_keras: bool) -> ModelShape:
    """Return what a model is: a classifier of images or of their pixels where it can be one, and equivalence is not
    asked for.

    Args:
        classifier, any_model: what the model takes and gives as either; the first raises ValueError where it is none.
    """
    reason = ""
    if task != EQUIVALENCE:
        try:
            signature = classifier()
            image, logits = signature.inputs[0].shape, signature.outputs[0].shape
            if None in image or not logits or logits[-1] is None:
                raise ValueError(f"it takes {shown((None, *image))} and gives {shown((None, *logits))}; the size of an "
                                 "image and how many classes there are must be known")
            return ModelShape(shape=image, classes=logits[-1], is_keras=is_keras)  # type: ignore[arg-type]
        except ValueError as error:
            if task is not None:
                raise
            reason = str(error)
    return ModelShape(is_keras=is_keras, signature=any_model(), reason=reason)


def _equivalence(settings: PressSettings, described: ModelShape, signature: Signature) -> Recipe:
    """Return the recipe that holds files against the answers of a model of any inputs and outputs."""
    settings.scratch.mkdir(parents=True, exist_ok=True)
    path = settings.scratch / f"{Path(settings.data).stem}.answered-by-the-original.npz"
    write = functools.partial(equivalence_data.write, allow_code=settings.allow_code, pixels=settings.pixels,
                              reason=described.reason, is_graph=not described.is_keras)
    workers.call(write, settings.model, settings.data, signature, path, what="press: asking the original")
    variants = listed(settings.variants or FIXED, "--variants")
    allowed = {"allow_code": True} if settings.allow_code else {}
    recipe = _recipe({
        "name": _name(settings), "task": EQUIVALENCE,
        "data": {"source": {"arrays": str(path)}, "batch": 1},
        "model": {"builder": FILE, "path": str(settings.model), **allowed}, "compress": {"variants": variants},
        "export": {"targets": _targets(settings, described.is_keras)}}, settings.model)
    trained = [variant.title for variant in recipe.compress.variants if variant.learns]
    if trained:
        raise UserError(f"--variants {', '.join(trained)}: trains, and nothing is known of this model but what it "
                        "answers. Give variants that do not train: float32, float16, dynamic, int8")
    return recipe


def _task(text: str | None) -> str | None:
    """Return the name of the task that `--task` gives, with or without a setting. Raises UserError."""
    read = one_of(text, f"--task {text}", "give its name, as a recipe does") if text else None
    name = next(iter(read)) if isinstance(read, dict) and len(read) == 1 else read
    tabular = str(Tabular.entry_name)
    if name not in (None, EQUIVALENCE, tabular, DETECTION, *TASKS) or (isinstance(read, dict) and name != tabular):
        raise UserError(f"--task {text}: press measures {', '.join(TASKS)}, {DETECTION}, tabular, tabular: regression "
                        f"or {EQUIVALENCE}; give one of them, or leave it out")
    return name


def _tabular(settings: PressSettings, described: ModelShape) -> Recipe:
    """Return the recipe that measures a model of a table's columns."""
    assert described.signature is not None and settings.task is not None
    written = one_of(settings.task)
    try:
        classifies = Tabular.read(written).classifies  # type: ignore[attr-defined]
    except ValueError:
        raise UserError(f"--task {settings.task}: say tabular, of a class, or \"tabular: regression\", of a "
                        "number") from None
    section, columns = workers.call(table_data.sections, settings.data, described.signature,
                                    settings.target or TARGET, classifies, what="press: reading the table")
    return _recipe({
        "name": _name(settings), "task": written, "data": section,
        "model": {"builder": FILE, "path": str(settings.model), "columns": columns},
        "compress": {"variants": listed(settings.variants or FIXED, "--variants")},
        "export": {"targets": _targets(settings, described.is_keras)}}, settings.model)


def _targets(settings: PressSettings, is_keras: bool) -> list[Any]:
    targets = listed(settings.targets or ("litert,saved_model" if is_keras else "litert"), "--targets")
    if not is_keras and "saved_model" in targets:
        raise UserError(f"--targets saved_model: {settings.model} is not a Keras model; leave the target out")
    return targets


def _name(settings: PressSettings) -> str:
    return settings.name or re.sub(r"[^a-z0-9_-]+", "_", settings.model.stem.lower()).strip("_-") or "pressed"


def label(settings: PressSettings, shape: tuple[int, int, int], target: Path) -> None:
    """Write images without labels to an .npz file, with the model's own answers as theirs.

    Args:
        shape: that the model takes, (height, width, channels).
    """
    images, pixels = images_of(settings.data, shape), settings.pixels or USUAL
    with tempfile.TemporaryDirectory() as folder:
        loaded, _ = as_graph.layer_by_layer(settings.model, settings.allow_code)
        if loaded is None:
            path = Path(folder) / "model.tflite"
            path.write_bytes(_normalized(settings.model, pixels, settings.allow_code))
        else:
            path = Path(folder) / "model.keras"
            keras_file.save(adopted(settings.model, loaded, pixels), path)
        logits = open_predictor(path).predict({IMAGE: images})[OUTPUT]
    np.savez(target, x=images, y=logits.argmax(axis=1))


def adopted(path: Path, model: keras.Model, pixels: Pixels) -> keras.Model:
    """Return a Keras model made elsewhere as a classifier of raw pixels. Raises ValueError where it is not one."""
    return ImageClassification().adopt(model, ImportedModel(path=str(path), pixels=pixels))


def check_out(out: Path) -> None:
    """Raise UserError where a bundle cannot be put into a folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: already exists; give a folder that is not, or empty it")
    if not out.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}")


def bundle_to(out: Path, results: Results) -> None:
    """Put a run's bundle, report and results into a folder of the user's, whole or not at all."""
    check_out(out)
    assert results.bundle is not None and results.report is not None
    with whole(out) as beside:
        shutil.copytree(Path(results.bundle).parent / "bundle", beside)
        shutil.copyfile(results.report, beside / "report.html")
        (beside / "results.json").write_text(results.model_dump_json(indent=1) + "\n")


def _labelled_by_model(settings: PressSettings, described: ModelShape) -> Source:
    """Return a source of the images with the model's own answers for labels."""
    settings.scratch.mkdir(parents=True, exist_ok=True)
    path = settings.scratch / f"{Path(settings.data).stem}.labelled-by-model.npz"
    workers.call(label, settings, described.shape, path, what="press: asking the model for labels")
    names = [str(number) for number in range(described.classes)]
    return Arrays(path=str(path), class_names=names)


def _normalized(model: Path, pixels: Pixels, allow_code: bool) -> bytes:
    """Return a model that is taken as a graph as a TFLite file from raw pixels to logits.

    Raises:
        ValueError: it cannot be read, or is not an image classifier.
    """
    return edit.normalized(as_graph.as_tflite(model, allow_code), *SCALING[pixels])


def _recipe(document: dict[str, Any], model: Path) -> Recipe:
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        messages = [in_words(f"press {model}", document, dict(one)) for one in error.errors()]
        raise UserError("\n".join(dict.fromkeys(messages))) from None
