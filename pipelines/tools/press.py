"""`litepress press` and `litepress explain`: models and data that were made elsewhere."""
from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

from etils import epy
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from export.conversion import convert, requantize
from export.keras_models import file as keras_file
from export.keras_models import imported
from export.predictors import IMAGE, LOGITS, LiteRTPredictor
from export.tflite import explain, signatures
from export.tflite import file as tflite_file
from pipelines.engine import workers
from pipelines.errors import UserError
from pipelines.figures import compression
from pipelines.ingest import Source, stream
from pipelines.ingest.indexing import build_index
from pipelines.ingest.pictures import ImageSettings, decode
from pipelines.ingest.sources.array_file import Arrays
from pipelines.ingest.sources.image_folder import PICTURES, ImageFolder
from pipelines.recipe.file import in_words
from pipelines.recipe.recipe import Recipe
from pipelines.reporting.results import Results
from pipelines.tools.predict import read_picture

with epy.lazy_imports():
    import numpy as np


class Described(BaseModel):
    """What a model takes and gives, (height, width, channels) and how many classes."""

    shape: tuple[int, int, int]
    classes: int
    is_keras: bool


def source_of(data: str) -> Source:
    """The source that `--data` names: a folder, a .npz or .npy file, or what a recipe's data.source takes by name."""
    path = Path(data)
    if path.suffix in (".npz", ".npy"):
        return Arrays(path=data)
    if path.is_dir():
        return ImageFolder(path=data)
    if path.exists() or "/" in data:
        raise UserError(f"--data {data}: {'no folder and no .npz or .npy file' if path.exists() else 'there is no such file or folder'}")
    try:
        return Source.read(data)  # type: ignore[return-value]
    except (ValidationError, ValueError):
        raise UserError(f"--data {data}: there is no such folder or file, and no source is called so. Give a folder of pictures, a .npz or "
                        f".npy file, tfds:NAME, or one of {', '.join(sorted(Source.choices))}") from None


def recipe_for(model: Path, data: str, *, variants: str | None, targets: str | None, pixels: str | None, name: str | None,
               scratch: Path) -> Recipe:
    """The recipe that presses a model.

    Args:
        model: a .keras, .h5 or .tflite file, or a SavedModel folder.
        data: see `source_of`.
        variants, targets: as a recipe's lists name them, with commas between.
        pixels: the range that the model learnt on, where it is known.
        name: of the runs; made from the file's where not given.
        scratch: where pictures without labels get the model's own answers.

    Raises:
        UserError: the model or the data cannot be read, or do not go together.
    """
    described = workers.call(describe, model, what="press: reading the model")
    image = {"size": list(described.shape[:2]), "channels": described.shape[2]}
    labels: Literal["true", "model"] = "true"
    source: Source
    if _is_unlabelled(data):
        scratch.mkdir(parents=True, exist_ok=True)
        labelled = scratch / f"{Path(data).stem}.labelled-by-model.npz"
        workers.call(label, model, str(data), pixels or "0..255", described.shape, labelled, what="press: asking the model for labels")
        labels, source = "model", Arrays(path=str(labelled), class_names=[str(number) for number in range(described.classes)])
    else:
        source = source_of(data)
    usual = "float32,float16,dynamic,auto" if described.is_keras and labels == "true" else "float32,float16,dynamic,int8"
    chosen = _listed(variants or usual, "--variants")
    wanted = _listed(targets or ("litert,saved_model" if described.is_keras else "litert"), "--targets")
    if not described.is_keras and "saved_model" in wanted:
        raise UserError(f"--targets saved_model: {model} is no Keras model; leave the target out")
    there = source.size("train")
    document: dict[str, Any] = {
        "name": name or re.sub(r"[^a-z0-9_-]+", "_", model.stem.lower()).strip("_-") or "pressed",
        "data": {"source": source.written(), "image": image, "labels": labels, "batch": max(1, min(64, (there or 640) // 10))},
        "model": {"builder": "file", "path": str(model), **({"pixels": pixels} if pixels else {})},
        "compress": {"variants": chosen}, "export": {"targets": wanted}}
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        raise UserError("\n".join(dict.fromkeys(in_words(f"press {model}", document, dict(one)) for one in error.errors()))) from None
    trains = [variant.title for variant in recipe.compress.variants if variant.learns]
    if labels == "model" and trains:
        raise UserError(f"--variants {', '.join(trains)}: trains, and {data} has no labels to learn from. Give labelled data, or variants "
                        "that do not train: float32, float16, dynamic, int8")
    return recipe


def describe(model: Path) -> Described:
    """What a model takes and gives. Raises UserError where it cannot be read."""
    try:
        if imported.is_keras(model):
            shaped = imported.classifier(imported.load(model), "0..255")
            return Described(shape=shaped.input_shape[1:], classes=shaped.output_shape[-1], is_keras=True)
        if model.suffix == ".tflite" and model.is_file():
            content = model.read_bytes()
        elif (model / "saved_model.pb").exists():
            content = imported.to_tflite(model)
        else:
            raise ValueError(f"{model} is no model: give a .keras, .h5 or .tflite file, or a SavedModel folder" if model.exists() else
                             f"there is no model {model}")
        graph = tflite_file.read(requantize.normalized(content, 1.0, 0.0)).subgraphs[0]
        shape, outputs = graph.tensors[graph.inputs[0]].shape, graph.tensors[graph.outputs[0]].shape
        return Described(shape=tuple(map(int, shape[1:])), classes=int(outputs[-1]), is_keras=False)  # type: ignore[arg-type]
    except ValueError as error:
        said = str(error)
        raise UserError(f"press: {said if str(model) in said else f'{model}: {said}'}") from error


def label(model: Path, data: str, pixels: imported.Pixels, shape: tuple[int, int, int], target: Path) -> None:
    """Writes pictures without labels, with the model's own answers as theirs."""
    images = _pictures(data, shape)
    if imported.is_keras(model):
        made = imported.classifier(imported.load(model), pixels)
        logits = np.concatenate([np.asarray(made(images[start:start + 64].astype("float32"), training=False))
                                 for start in range(0, len(images), 64)])
    else:
        content = model.read_bytes() if model.is_file() else imported.to_tflite(model)
        beside = target.with_suffix(".tflite")
        beside.write_bytes(requantize.normalized(content, *imported.SCALING[pixels]))
        logits = LiteRTPredictor(beside).predict({IMAGE: images})[LOGITS]
        beside.unlink()
    np.savez(target, x=images, y=logits.argmax(axis=1))


def _is_unlabelled(data: str) -> bool:
    """Whether data are pictures without labels: an array alone, or a folder of pictures without folders in it."""
    path = Path(data)
    if path.suffix in (".npz", ".npy"):
        source = Arrays(path=data)
        source.fingerprint()
        return not source.labelled
    return path.is_dir() and not any(child.is_dir() for child in path.iterdir()) and any(
        child.suffix.lower() in PICTURES for child in path.iterdir())


def _pictures(data: str, shape: tuple[int, int, int]) -> np.ndarray:
    """All pictures of a file or a flat folder, in the model's shape."""
    path, image = Path(data), ImageSettings(size=shape[:2], channels=shape[2])  # type: ignore[arg-type]
    if path.is_dir():
        return np.stack([read_picture(file, shape) for file in sorted(path.iterdir()) if file.suffix.lower() in PICTURES])
    return np.stack([decode(encoded, image).numpy() for encoded, _, _ in Arrays(path=data).raw("train")])


def _listed(text: str, option: str) -> list[Any]:
    try:
        found = YAML(typ="safe").load(f"[{text}]")
    except YAMLError:
        raise UserError(f"{option} {text}: give names with commas between, for instance float16,int8 or \"int8,{{qat: 5}}\"") from None
    if not found:
        raise UserError(f"{option}: it is empty")
    return found


def check_out(out: Path) -> None:
    """Raises UserError where a bundle cannot be put into a folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: is there already; give a folder that is not, or empty it")
    if not out.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}")


def bundle_to(out: Path, found: Results) -> None:
    """Puts a run's bundle, report and results into a folder of the user's, whole or not at all."""
    check_out(out)
    assert found.bundle is not None and found.report is not None
    beside = out.with_name(f".{out.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(Path(found.bundle).parent / "bundle", beside)
    shutil.copyfile(found.report, beside / "report.html")
    (beside / "results.json").write_text(found.model_dump_json(indent=1) + "\n")
    if out.exists():
        out.rmdir()
    beside.rename(out)


def explain_file(model: Path, reference: Path, data: str, examples: int, picture: Path | None, pixels: imported.Pixels) -> list[str]:
    """The lines of `litepress explain`: the errors of every operator, and advice for the worst three.

    Args:
        model: an integer .tflite file.
        reference: the float model, .keras or .h5, or a float .tflite file.
        data: see `source_of`.
        examples: how many pictures to run.
        picture: where to draw the errors along the network.
        pixels: the range that a reference made elsewhere learnt on.

    Raises:
        UserError: a file cannot be read, or the two are not of one model.
    """
    try:
        content, exact = _content(model), _float_content(reference, pixels)
        shape = signatures.of(exact).input.shape[1:]  # a file for phones may take RGB where the model takes grey pictures
        images = _sample(data, shape, examples)  # type: ignore[arg-type]
        errors = explain.layer_errors(content, exact, images)
    except ValueError as error:
        raise UserError(f"explain: {error}") from error
    if not errors:
        raise UserError(f"explain: {model} has no integer operators; give a quantized file")
    if picture is not None:
        compression.layers(errors, picture)
    advice = [explain.advice(one) for one in explain.worst(errors)]
    return [*explain.table(errors), "", *(advice or ["no operator adds noise of its own"]), *([f"see {picture}"] if picture else [])]


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        tflite_file.read(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return path.read_bytes()


def _float_content(reference: Path, pixels: imported.Pixels) -> bytes:
    if reference.suffix == ".tflite":
        return _content(reference)
    model = keras_file.load(reference) if reference.suffix == ".keras" and pixels == "0..255" else imported.classifier(
        imported.load(reference), pixels)
    with tempfile.TemporaryDirectory() as folder:
        convert.float_graph(model, Path(folder) / "graph")
        return convert.convert(Path(folder) / "graph", "float32")


def _sample(data: str, shape: tuple[int, int, int], examples: int) -> np.ndarray:
    """Some pictures of the data, raw pixels in the model's shape."""
    if _is_unlabelled(data):
        return _pictures(data, shape)[:examples]
    source, image = source_of(data), ImageSettings(size=shape[:2], channels=shape[2])  # type: ignore[arg-type]
    source.fingerprint()
    source.prepare()
    index = build_index(source, image, validation=0.1, test=0.2, seed=7)
    images, _ = stream.arrays(stream.examples(source, index, image, "test").take(examples))
    return images

