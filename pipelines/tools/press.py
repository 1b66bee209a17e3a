"""`litepress press`: models and data that were made elsewhere: those that tell classes of images or of their pixels
apart, and any other by what it answers."""
from __future__ import annotations

import functools
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etils import epy
from pydantic import ValidationError

from export.keras_models import as_graph, other_files
from export.keras_models import file as keras_file
from export.keras_models.pixels import Pixels
from export.predictors import open_predictor
from export.signature import Signature
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
from pipelines.tools import equivalence_data, press_detector, table_data
from pipelines.tools.data_option import images_of, is_unlabelled, source_of
from pipelines.tools.press_model import EQUIVALENCE, TASKS, USUAL, ModelShape, PressSettings, describe, normalized
from pipelines.tools.written_option import listed, one_of
from pipelines.training.model_section import ImportedModel

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    import keras

#: What is made where nothing else is asked for: of a Keras model with labelled data, and otherwise.
TRAINABLE, FIXED = "float32,float16,dynamic,auto", "float32,float16,dynamic,int8"
DETECTION = str(ObjectDetection.entry_name)
#: Files for phones that take what the model takes, grey images too.
AS_IT_IS: dict[str, Any] = {"litert": {"rgb": False}}


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
            settings.section, settings.data, name=_name(settings),
            variants=listed(settings.variants or FIXED, "--variants"),
            targets=_targets(settings, is_keras=False)), model)
    if named != str(Tabular.entry_name) and settings.target is not None:
        raise UserError(f"--target-column {settings.target}: only tables have one; add --task tabular or "
                        "\"tabular: regression\", or leave it out")
    if named == str(Tabular.entry_name) and settings.pixels is not None:
        raise UserError(f"--pixels {settings.pixels}: a table has no pixels; leave it out")
    described = workers.call(describe, settings.section, named, what="press: reading the model")
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
        "model": settings.written(), "compress": {"variants": listed(variants, "--variants")},
        "export": {"targets": targets}}, model)
    trained = [variant.title for variant in recipe.compress.variants if variant.learns]
    if labels == "model" and trained:
        raise UserError(f"--variants {', '.join(trained)}: trains, and {settings.data} has no labels to learn from. "
                        "Give labelled data, or variants that do not train: float32, float16, dynamic, int8")
    return recipe


def _equivalence(settings: PressSettings, described: ModelShape, signature: Signature) -> Recipe:
    """Return the recipe that holds files against the answers of a model of any inputs and outputs."""
    settings.scratch.mkdir(parents=True, exist_ok=True)
    path = settings.scratch / f"{Path(settings.data).stem}.answered-by-the-original.npz"
    write = functools.partial(equivalence_data.write, reason=described.reason, is_graph=not described.is_keras,
                              program=settings.program)
    workers.call(write, settings.section, settings.data, signature, path, what="press: asking the original")
    variants = listed(settings.variants or FIXED, "--variants")
    recipe = _recipe({
        "name": _name(settings), "task": EQUIVALENCE,
        "data": {"source": {"arrays": str(path)}, "batch": 1},
        "model": {**settings.written(), "pixels": None}, "compress": {"variants": variants},
        "export": {"targets": _targets(settings, described.is_keras, by_itself=True)}}, settings.model)
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
        "model": settings.written(columns=columns),
        "compress": {"variants": listed(settings.variants or FIXED, "--variants")},
        "export": {"targets": _targets(settings, described.is_keras)}}, settings.model)


def _targets(settings: PressSettings, is_keras: bool, by_itself: bool = False) -> list[Any]:
    """Return the targets to make. Raises UserError.

    Args:
        by_itself: the model is held against its own answers.
    """
    targets = listed(settings.targets or ("litert,saved_model" if is_keras else "litert"), "--targets")
    if not is_keras and "saved_model" in targets and (settings.model.suffix == as_graph.TFLITE or not by_itself):
        raise UserError(f"--targets saved_model: {settings.model} is not a Keras model; leave the target out"
                        + ("" if settings.model.suffix == as_graph.TFLITE else ", or add --task equivalence"))
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
            path.write_bytes(normalized(settings.section, pixels))
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


def _recipe(document: dict[str, Any], model: Path) -> Recipe:
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        messages = [in_words(f"press {model}", document, dict(one)) for one in error.errors()]
        raise UserError("\n".join(dict.fromkeys(messages))) from None
