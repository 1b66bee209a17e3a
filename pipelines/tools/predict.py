"""`litepress predict`: what a model says of some pictures."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from etils import epy

from export.predictors import IMAGE, LOGITS, open_predictor
from pipelines.engine import runs, workers
from pipelines.errors import UserError
from pipelines.reporting import results

with epy.lazy_imports():
    import numpy as np
    import PIL.Image

BEST = 3


def predict(artifact: Path, files: Sequence[Path]) -> Iterator[str]:
    """Yields a line per picture: its best classes with their probabilities. Raises UserError."""
    model, labels = find_model(artifact)
    if model.suffix == ".tflite":
        with workers.quiet():
            logits = answers(model, files)
    else:
        logits = workers.call(answers, model, files, what="predict")
    width = max(len(str(file)) for file in files)
    for file, row in zip(files, logits, strict=True):
        scores = np.exp(row - row.max())
        scores /= scores.sum()
        best = np.argsort(-scores, kind="stable")[:BEST]
        yield f"{file!s:<{width}}  " + "  ".join(f"{labels[place] if labels else place} {scores[place]:.1%}" for place in best)


def find_model(artifact: Path) -> tuple[Path, list[str]]:
    """The model that `artifact` stands for, and its class names as far as a labels.txt lies near it."""
    if not artifact.exists():
        raise UserError(f"{artifact}: there is no such file or folder. Give a run's folder, a .tflite or .keras file, or a SavedModel")
    model = artifact
    if (artifact / runs.RECORD).exists():
        found = results.collect(runs.load(artifact))
        if not found.artifacts:
            raise UserError(f"{artifact}: this run has no verified models yet; let it come to its end with litepress run")
        advice = results.recommendations(found)
        chosen = next((one for one in found.artifacts if "CPUs" in advice.get(one.name, "")), found.artifacts[0])
        model = Path(chosen.path)
    for folder in (model if model.is_dir() else model.parent, *model.parents[:3]):
        if (folder / "labels.txt").exists():
            return model, (folder / "labels.txt").read_text().splitlines()
    return model, []


def answers(model: Path, files: Sequence[Path]) -> np.ndarray:
    """The logits (pictures, classes) of a model for picture files."""
    try:
        predictor = open_predictor(model)
    except ValueError as error:
        raise UserError(str(error)) from error
    return predictor.predict({IMAGE: np.stack([read_picture(file, predictor.input_shape) for file in files])})[LOGITS]


def read_picture(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A picture file as raw pixels of the model's shape (height, width, channels). Raises UserError."""
    height, width, channels = shape
    try:
        with PIL.Image.open(path) as file:
            picture = file.convert("L" if channels == 1 else "RGB")
            if picture.size != (width, height):
                picture = picture.resize((width, height), PIL.Image.Resampling.BILINEAR)
            return np.asarray(picture, np.uint8).reshape(shape)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such picture") from None
    except OSError as error:
        raise UserError(f"{path}: not a picture that can be read ({str(error).splitlines()[0]})") from None
