"""`litepress predict`: what a model says of some files."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from etils import epy

from export.predictors import Predictor, open_predictor
from export.signature import DEFAULT, Arrays, Signature
from pipelines.engine import runs, workers
from pipelines.errors import UserError
from pipelines.features import Feature, Learnt, audio_file, image_file
from pipelines.features.audio import Audio
from pipelines.ingest.index import Index
from pipelines.ingest.sources.source import Source
from pipelines.recipe.recipe import Recipe
from pipelines.reporting import results
from pipelines.stages.context import INDEX
from pipelines.tasks import own_examples
from pipelines.tasks.image_classification import IMAGE, LABEL, OUTPUT, ImageClassification
from pipelines.tasks.semantic_segmentation import MASK, SemanticSegmentation
from pipelines.tasks.task import Task
from pipelines.tasks.windows import InWindows

with epy.lazy_imports():
    import numpy as np

#: Folders above a file that are searched for its run and its labels.
LEVELS = 4
LABELS = "labels.txt"


@dataclasses.dataclass(frozen=True)
class Asked:
    """A model, and what is known of what it takes and says.

    Args:
        path: of a file, or of a SavedModel's folder.
        task: what its outputs mean.
        index: of the data that it learnt from.
        features: of its inputs, by name.
        source: that it learnt from.
        is_guessed: nothing says what it was trained for.
    """

    path: Path
    task: Task
    index: Index
    features: Mapping[str, Feature]
    source: Source | None = None
    is_guessed: bool = False


def predict(artifact: Path, files: Sequence[Path], out: Path | None = None) -> Iterator[str]:
    """Yield a line per file, or per row of files of rows: what the model says of it, for instance its best classes
    with their probabilities.

    Args:
        files: or folders, of which all images are taken, or all recordings.
        out: folder for drawings of what it says, where that can be drawn.

    Raises:
        UserError: there is no such model, or a file cannot be read.
    """
    asked = find_model(artifact)
    reads_folders = asked.source is not None and asked.source.reads_folders
    files = [one for file in files
             for one in (_files_in(file, asked) if file.is_dir() and not reads_folders else [file])]
    if asked.path.suffix == ".tflite":
        workers.quiet_at_exit()
        with workers.quiet():
            said = answers(asked, files, out)
    else:
        said = workers.call(answers, asked, files, out, what="predict")
    width = max(len(title) for title, _ in said)
    for title, line in said:
        yield f"{title:<{width}}  {line}"


def find_model(artifact: Path) -> Asked:
    """Return the model that `artifact` stands for.

    The run that it belongs to says what it was trained for. A model without a run is taken for an image classifier, or
    of pixels where it gives numbers for each, and its class names for those in a labels.txt near it.

    Raises:
        UserError: there is no such file, or the run has no verified model yet.
    """
    if not artifact.exists():
        raise UserError(f"{artifact}: there is no such file or folder. Give a run's folder, a .tflite or .keras file, "
                        "or a SavedModel")
    if (artifact / runs.RECORD).exists():
        return _of_run(best_file(artifact), artifact)
    run = next((folder for folder in list(artifact.parents)[:LEVELS] if (folder / runs.RECORD).exists()), None)
    return _of_run(artifact, run) if run is not None else _of_classifier(artifact)


def answers(asked: Asked, files: Sequence[Path], out: Path | None = None) -> list[tuple[str, str]]:
    """Return what each example of some files is called, and what a model says of it, drawn into a folder where one is
    given. Raises UserError."""
    try:
        predictor = open_predictor(asked.path)
    except ValueError as error:
        raise UserError(str(error)) from error
    signature = main_signature(predictor)
    names = [tensor.name for tensor in signature.outputs]
    shapes = [tensor.shape for tensor in signature.outputs  # a server's masks are those of the logits beside them
              if tensor.name != MASK or OUTPUT not in names]
    if asked.is_guessed and any(len(shape) in (2, 4) for shape in shapes):
        raise UserError(f"predict: {asked.path} gives {', '.join(names)}, which is no class of an image or of its "
                        "pixels; ask it in its run's folder, which says what they mean")
    if asked.is_guessed and any(len(shape) == 3 for shape in shapes):
        asked = _of_pixels(asked)
    if isinstance(asked.task, InWindows) and asked.task.windows is not None:
        titles, inputs, outputs = _in_windows(asked, asked.task, predictor, files)
    else:
        rows = _rows(asked, signature, files)
        titles = [str(file) for file in files] if rows is None else rows[0]
        inputs = read_inputs(asked, signature, files) if rows is None else rows[1]
        outputs = _named(asked, asked.task.answer(predictor, inputs))
    if out is not None:
        asked.task.write_answers([Path(title) for title in titles], {**inputs, **outputs}, asked.index, out)
    return list(zip(titles, asked.task.in_words(outputs, asked.index), strict=True))


def _in_windows(asked: Asked, task: InWindows, predictor: Predictor,
                files: Sequence[Path]) -> tuple[list[str], Arrays, Arrays]:
    """Return what a model says of images in their own sizes: what they are called, the images, and the outputs, arrays
    of arrays."""
    titles, images = own_examples.in_own_size(files, asked.features, asked.source)
    (name, tensor), = asked.index.inputs.items()
    window = [side or 1 for side in tensor.shape[:2]]
    answers = [task.answer_large(predictor, image, name, window) for image in images]
    outputs = {output: _each([answer[output][0] for answer in answers]) for output in answers[0]}
    return titles, {name: _each(images)}, outputs


def _each(values: Sequence[np.ndarray]) -> np.ndarray:
    """Return arrays of any shapes as an array of them."""
    result = np.empty(len(values), object)
    for number, value in enumerate(values):
        result[number] = value
    return result


def _files_in(folder: Path, asked: Asked) -> list[Path]:
    """Return the images in a folder, or its recordings where the model takes sound. Raises UserError where there are
    none."""
    if not any(isinstance(feature, Audio) for feature in asked.features.values()):
        return _images(folder)
    recordings = sorted(path for path in image_file.files(folder) if audio_file.is_recording(path))
    if not recordings:
        raise UserError(f"{folder}: has no recordings in it ({audio_file.READ})")
    return recordings


def _images(folder: Path) -> list[Path]:
    """Return the images in a folder. Raises UserError where there are none."""
    images = image_file.images(folder)
    if not images:
        raise UserError(f"{folder}: has no images in it ({image_file.READ})")
    return images


def _rows(asked: Asked, signature: Signature, files: Sequence[Path]) -> tuple[list[str], Arrays] | None:
    """Return the examples of files that hold several each: what they are called, and the inputs, words as text where
    the model takes text; None where a file is one example."""
    read = [asked.task.rows_of(file, dict(asked.features), asked.index, asked.source) for file in files]
    parts = [part for part in read if part is not None]
    if not parts:
        return None
    takes = {tensor.name: tensor.dtype for tensor in signature.inputs}
    inputs = {name: np.concatenate([columns[name] for _, columns in parts]) for name in asked.features}
    for name, feature in asked.features.items():
        if takes.get(name) == "string":
            inputs[name] = feature.sent(inputs[name], asked.index.learnt[name])
    return [title for titles, _ in parts for title in titles], inputs


def read_inputs(asked: Asked, signature: Signature, files: Sequence[Path]) -> Arrays:
    """Return files as a model's only input, (files, ...). Raises UserError where it takes several."""
    if len(signature.inputs) != 1 or len(asked.features) != 1:
        names = ", ".join(tensor.name for tensor in signature.inputs)
        raise UserError(f"predict: {asked.path} takes several inputs, {names}, and a file is one")
    tensor = signature.inputs[0]
    (name, feature), = asked.features.items()
    return {name: np.stack([feature.from_file(file, tensor) for file in files])}


def main_signature(predictor: Predictor) -> Signature:
    """Return the signature that a model is asked by default: the usual one, or a file's first."""
    return predictor.signatures.get(DEFAULT) or next(iter(predictor.signatures.values()))


def best_file(folder: Path, name: str | None = None) -> Path:
    """Return the artifact of a run that is called so, or that is recommended for CPUs, or its first. Raises UserError
    where there is none."""
    collected = results.collect(runs.load(folder))
    artifacts = collected.artifacts
    if not artifacts:
        raise UserError(f"{folder}: this run has no verified models yet; finish it with litepress run")
    if name is not None:
        return Path(collected.artifact(name).path)
    advice = results.recommendations(collected)
    return Path(next((one for one in artifacts if "CPUs" in advice.get(one.name, "")), artifacts[0]).path)


def _of_run(path: Path, folder: Path) -> Asked:
    run = runs.load(folder)
    recipe = Recipe.model_validate(run.record.recipe)
    index = Index.model_validate_json(run.path("ingest", INDEX).read_bytes())
    features, _ = recipe.task.features_of(recipe.data, index.fields)
    return Asked(path, recipe.task, index, features, recipe.data.source)


def _of_classifier(path: Path) -> Asked:
    """Return a model without a run as an image classifier, whose class names lie near it or are not known."""
    folders = [path if path.is_dir() else path.parent, *list(path.parents)[:LEVELS - 1]]
    labels = next((folder / LABELS for folder in folders if (folder / LABELS).exists()), None)
    names = labels.read_text().splitlines() if labels is not None else []
    task = ImageClassification()
    features = {name: kind() for name, kind in task.inputs.items()}
    learnt = {IMAGE: Learnt(), LABEL: Learnt(names=names)}
    index = Index(source="", digest="", splits={}, learnt=learnt,
                  inputs={name: feature.tensor(name, learnt[name]) for name, feature in features.items()},
                  targets={LABEL: task.targets[LABEL]().tensor(LABEL, learnt[LABEL])})
    return Asked(path, task, index, features, is_guessed=True)


def _of_pixels(asked: Asked) -> Asked:
    """Return a model that is not known as one that tells the classes of pixels apart."""
    index = asked.index.model_copy(update={"learnt": {IMAGE: Learnt(), MASK: asked.index.learnt[LABEL]}})
    return dataclasses.replace(asked, task=SemanticSegmentation(), index=index)


def _named(asked: Asked, outputs: Arrays) -> Arrays:
    """Return the only output of a model that tells classes apart under the task's name for it: files made elsewhere
    have their own."""
    if isinstance(asked.task, (ImageClassification, SemanticSegmentation)) and OUTPUT not in outputs:
        if len(outputs) != 1:
            raise UserError(f"predict: {asked.path} gives {', '.join(outputs)}; one of them must be called {OUTPUT}")
        return {OUTPUT: next(iter(outputs.values()))}
    return outputs
