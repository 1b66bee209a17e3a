"""Holds the phone files of runs against MediaPipe's tasks, on 40 held-out pictures of each.

    make .venv/.mediapipe
    python benchmarks/mediapipe.py runs/digits_in_scenes/latest runs/brain/latest runs/faces/latest

A line for each file that a task opens: ObjectDetector and FaceDetector by boxes (of those with a score of 0.25 and
more, the share that the other finds too, of the same class and at an overlap of 0.99), ImageSegmenter by the share of
pixels of the same class, ImageEmbedder by the least cosine, AudioClassifier by the largest difference of a
score. Pictures are shown to detectors eight times as large, each pixel a square: MediaPipe, which makes them smaller,
then sees the pixels that our drivers see, and its boxes in whole pixels are eight times as exact; ours are cut off to
whole pixels in the same way.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from export.predictors import LiteRTPredictor
from export.signature import Arrays
from export.tflite import metadata
from export.tflite.detection import BOXES, LOCATION, REGRESSORS
from models.embedding import EMBEDDING
from pipelines.engine import runs
from pipelines.errors import UserError
from pipelines.features import audio
from pipelines.ingest.data import Data
from pipelines.ingest.index import Index
from pipelines.recipe.recipe import Recipe
from pipelines.reporting.tables import aligned
from pipelines.tasks.object_detection import detections
from pipelines.tasks.object_detection import mediapipe as found_by

PACKAGES = Path(sys.prefix) / "mediapipe"
PICTURES, LARGER, SURE, LEAST, OVERLAP = 40, 8, 0.25, 0.05, 0.99
ASK = f"""
import json, sys
import mediapipe, numpy
from mediapipe.tasks.python import BaseOptions, vision
task, path, images, out = sys.argv[1:]
base = BaseOptions(model_asset_path=path)
images = [mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image) for image in numpy.load(images)]
def box(one, kind):
    sides = one.bounding_box
    return [sides.origin_y, sides.origin_x, sides.origin_y + sides.height, sides.origin_x + sides.width, kind.score,
            kind.category_name or ""]
if task == "ObjectDetector":
    options = vision.ObjectDetectorOptions(base_options=base, score_threshold={LEAST})
    with vision.ObjectDetector.create_from_options(options) as model:
        said = [[box(one, kind) for one in model.detect(image).detections for kind in one.categories]
                for image in images]
elif task == "FaceDetector":
    options = vision.FaceDetectorOptions(base_options=base, min_detection_confidence={LEAST})
    with vision.FaceDetector.create_from_options(options) as model:
        said = [[box(one, one.categories[0]) for one in model.detect(image).detections] for image in images]
elif task == "ImageSegmenter":
    options = vision.ImageSegmenterOptions(base_options=base, output_category_mask=True)
    with vision.ImageSegmenter.create_from_options(options) as model:
        masks = [model.segment(image).category_mask.numpy_view().copy() for image in images]
    numpy.save(out + ".npy", numpy.stack(masks)); said = []
else:
    with vision.ImageEmbedder.create_from_options(vision.ImageEmbedderOptions(base_options=base)) as model:
        said = [model.embed(image).embeddings[0].embedding.tolist() for image in images]
json.dump(said, open(out, "w"))
"""
ASK_SOUND = """
import json, sys
import mediapipe, numpy
from mediapipe.tasks.python import BaseOptions, audio
from mediapipe.tasks.python.components.containers import AudioData
path, sounds, rate, out = sys.argv[1:]
options = audio.AudioClassifierOptions(base_options=BaseOptions(model_asset_path=path))
with audio.AudioClassifier.create_from_options(options) as model:
    said = [model.classify(AudioData.create_from_array(sound, int(rate)))[0].classifications[0].categories
            for sound in numpy.load(sounds)]
json.dump([{one.category_name: one.score for one in each} for each in said], open(out, "w"))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder")
    options = parser.parse_args()
    if not PACKAGES.is_dir():
        sys.exit(f"there is no {PACKAGES}; make .venv/.mediapipe brings it")
    for folder in options.runs:
        try:
            rows = held_against(folder)
        except UserError as error:
            sys.exit(str(error))
        titles = (folder.parent.name, "task", "pictures", "agreement")
        print(aligned([titles, *rows], [str.ljust] * len(titles)) + "\n", flush=True)


def held_against(folder: Path) -> list[tuple[str, ...]]:
    """Return a row for each TFLite file of a run that a task of MediaPipe opens. Raises UserError."""
    run = runs.load(folder)
    recipe = Recipe.model_validate(run.record.recipe)
    index = Index.model_validate_json(run.path("ingest", "index.json").read_bytes())
    inputs, _ = Data(recipe.data, recipe.task, index, recipe.seed).arrays("test", PICTURES)
    images = next(iter(inputs.values()))
    if next(iter(index.inputs.values())).role == "waveform":
        return [scores(path, images, index) for path in sorted(run.path("export", ".").glob("*/*.tflite"))]
    shown = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
    rows = []
    for path in sorted(run.path("export", ".").glob("*/*.tflite")):
        predictor = LiteRTPredictor(path)
        signature = next(iter(predictor.signatures.values()))
        names = {tensor.name: tensor for tensor in signature.outputs}
        known = next((kind for name, kind in KINDS.items() if name in names and (
            name != "logits" or len(names[name].shape) == 3)), None)
        if known is None:
            continue
        task, compare = known
        given = shown if (signature.inputs[0].shape[-1] or 3) == 3 else images
        ours = predictor.predict({signature.inputs[0].name: given})
        said, masks = _asked(task, path, shown)
        rows.append((f"{path.parent.name} {path.stem}", task, str(len(images)),
                     compare(ours, said if masks is None else masks, index)))
    return rows


def boxes(ours: Arrays, said: Any, index: Index) -> str:
    """Return how many boxes of ours MediaPipe finds, and how many of its own are ours."""
    if REGRESSORS in ours:
        ours = found_by.faces(ours, most=100, score=LEAST)
    elif LOCATION in ours:
        ours = found_by.found(ours, most=100, score=LEAST)
    names, side = index.names("boxes"), index.inputs["image"].shape[0] or 1
    counts = [0, 0, 0, 0]
    for answers, (sides, scores, classes) in zip(said, detections.of_images(ours), strict=True):
        theirs = [(np.array(one[:4]) / (side * LARGER), one[4], one[5] or names[0]) for one in answers]
        mine = [(whole(box, side * LARGER), score, names[number])
                for box, score, number in zip(sides, scores, classes, strict=True)]
        for place, (some, others) in enumerate(((mine, theirs), (theirs, mine))):
            sure = [one for one in some if one[1] >= SURE]
            counts[2 * place] += sum(any(_same(one, other) for other in others) for one in sure)
            counts[2 * place + 1] += len(sure)
    return "{} of {} boxes, {} of its {}".format(*counts)


def whole(box: np.ndarray, side: int) -> np.ndarray:
    """Return a box as MediaPipe says it: where it begins and its sides, cut off to whole pixels."""
    begin, sides = np.trunc(box[:2] * side + 1e-4), np.trunc((box[2:] - box[:2]) * side + 1e-4)
    return np.concatenate([begin, begin + sides]) / side


def _same(one: tuple[Any, float, str], other: tuple[Any, float, str]) -> bool:
    return one[2] == other[2] and float(detections.overlaps(one[0], np.asarray(other[0])[None])[0]) >= OVERLAP


def pixels(ours: Arrays, said: Any, index: Index) -> str:
    """Return the share of pixels of the same class."""
    logits = ours["logits"]
    own = logits.argmax(-1) if logits.shape[-1] > 1 else (logits[..., 0] > 0).astype(int)
    return f"{(said.reshape(own.shape) == own).mean():.3%} of pixels"


def cosines(ours: Arrays, said: Any, index: Index) -> str:
    """Return the least cosine."""
    given, own = np.array(said), ours[EMBEDDING]
    lengths = np.linalg.norm(given, axis=1) * np.linalg.norm(own, axis=1)
    return f"cosine {((given * own).sum(axis=1) / lengths).min():.5f} at least"


def scores(path: Path, sounds: np.ndarray, index: Index) -> tuple[str, ...]:
    """Return a row of a file that tells classes of sound apart: how far MediaPipe's scores are from its own."""
    about = metadata.read(path.read_bytes())
    assert about is not None
    with tempfile.TemporaryDirectory() as folder:
        heard, out = Path(folder) / "sounds.npy", Path(folder) / "said.json"
        np.save(heard, sounds)
        rate = str(audio.rate_of(index.learnt))
        done = subprocess.run([sys.executable, "-c", ASK_SOUND, str(path), str(heard), rate, str(out)],
                              capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(PACKAGES)})
        if done.returncode:
            sys.exit(f"{path}: AudioClassifier ended: {' '.join(done.stderr.split())[-300:]}")
        said = np.array([[one[name] for name in about.labels] for one in json.loads(out.read_text())])
    own = next(iter(LiteRTPredictor(path).predict({"audio": sounds}).values()))
    if about.calibration is not None:
        own = 1 / (1 + np.exp(-(about.calibration.slope * own + about.calibration.offset)))
    return (f"{path.parent.name} {path.stem}", "AudioClassifier", str(len(sounds)),
            f"scores off by {np.abs(said - own).max():.5f} at most")


#: An output, to the task that opens such files and what is compared.
KINDS: dict[str, tuple[str, Callable[[Arrays, Any, Index], str]]] = {
    BOXES: ("ObjectDetector", boxes), LOCATION: ("ObjectDetector", boxes), REGRESSORS: ("FaceDetector", boxes),
    EMBEDDING: ("ImageEmbedder", cosines), "logits": ("ImageSegmenter", pixels)}


def _asked(task: str, path: Path, images: np.ndarray) -> tuple[Any, np.ndarray | None]:
    """Return what a task of MediaPipe says of images in a process of its own, and the masks it gives."""
    with tempfile.TemporaryDirectory() as folder:
        shown, out = Path(folder) / "images.npy", Path(folder) / "said.json"
        times = LARGER if task in ("ObjectDetector", "FaceDetector") else 1
        np.save(shown, images.repeat(times, axis=1).repeat(times, axis=2))
        done = subprocess.run([sys.executable, "-c", ASK, task, str(path), str(shown), str(out)], capture_output=True,
                              text=True, env={**os.environ, "PYTHONPATH": str(PACKAGES)})
        if done.returncode:
            sys.exit(f"{path}: {task} ended: {' '.join(done.stderr.split())[-300:]}")
        masks = Path(f"{out}.npy")
        return json.loads(out.read_text()), np.load(masks) if masks.is_file() else None


if __name__ == "__main__":
    main()
