"""What an encoder adds: the signature `encode`, the evidence lower bound, and figures of what its noise means."""
from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

import models
from export.keras_models import graph
from export.signature import Arrays, Function, Signature, Tensor
from models.outputs import library_of
from models.variational import GENERATED, IMAGE, LOCATION, LOG_SCALE, LOG_VARIANCE, MEAN, NOISE
from pipelines.tasks.evaluation import Evaluation, Figure, rounded
from pipelines.tasks.image_generation.measure import BITS, COLUMNS, RECONSTRUCTION, draw, levels

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from export.predictors import Predictor
    from pipelines.ingest.data import Data

#: From an image to the noise that it could be made of.
ENCODE = "encode"
#: The noise whose numbers are changed one by one: from and to, in deviations.
REACH = 2.5
#: Rows of the figures.
SHOWN = 8
LARGEST = 255.0


def has_encoder(model: Any) -> bool:
    """Return whether a model says of what noise an image could be made."""
    outputs = models.named_outputs(model)
    return {MEAN, LOG_VARIANCE} <= set(outputs)


def encode(model: Any, image: Tensor, noise: Tensor) -> Function:
    """Return the signature `encode`: from an image to mean and logarithm of the variance of its noise."""
    library = library_of(model)
    outputs = models.named_outputs(model)
    part = library.Model(models.named_inputs(model)[IMAGE], {name: outputs[name] for name in (MEAN, LOG_VARIANCE)})
    taken = image.model_copy(update={"dtype": "float32"})
    said = (Tensor(name=MEAN, dtype="float32", shape=noise.shape, role="values",
                   meaning="noise of which the decoder makes this image again"),
            Tensor(name=LOG_VARIANCE, dtype="float32", shape=noise.shape, role="values",
                   meaning="logarithm of how far that noise may be from it, squared"))
    return Function(Signature(name=ENCODE, inputs=(taken,), outputs=said), graph.function(
        part, Signature(name=ENCODE, inputs=(taken,), outputs=said)).call)


def completed(evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
    """Return an evaluation with the evidence lower bound of the test images, and figures: images made again, walks
    between two of them, and what each number of the noise changes.

    Args:
        evaluation: with what simple models are worth.
    """
    inputs, _ = data.arrays("test", COLUMNS)
    result = with_bits(evaluation, evidence(predictor, data))
    metrics = {**result.metrics, **rounded({RECONSTRUCTION: reconstruction(predictor, data)})}
    return result.model_copy(update={
        "metrics": metrics, "figures": [*result.figures, *_drawn(predictor, inputs, folder)]})


def with_bits(evaluation: Evaluation, bits: float) -> Evaluation:
    """Return an evaluation with the bits per dimension, and a remark that has those of simple models beside."""
    others = ", ".join(f"{name.replace('_', ' ')} {metrics[BITS]:.3f}"
                       for name, metrics in evaluation.baselines.items() if BITS in metrics)
    return evaluation.model_copy(update={
        "metrics": {**evaluation.metrics, **rounded({BITS: bits})},
        "remarks": [*evaluation.remarks, f"{bits:.3f} bits per dimension ({others})"]})


def evidence(predictor: Predictor, data: Data) -> float:
    """Return the bits that test images take at most, for each of their numbers: the evidence lower bound, with one
    draw of each image's noise."""
    total, count = 0.0, 0
    for inputs, _ in data.batches("test"):
        said = predictor.predict(inputs)
        noise = said[MEAN] + np.exp(said[LOG_VARIANCE] / 2) * inputs[NOISE]
        made = predictor.predict({**inputs, NOISE: noise.astype(np.float32)})
        total += float(bits_of(inputs[IMAGE], {**said, **{name: made[name] for name in (LOCATION, LOG_SCALE)}}).sum())
        count += len(noise)
    return total / count


def reconstruction(predictor: Predictor, data: Data) -> float:
    """Return the peak signal-to-noise ratio of test images that are made again of the mean of their noise, in dB, the
    mean over the images; 100 at most of an image."""
    ratios = []
    for inputs, _ in data.batches("test"):
        made = levels(predictor.predict({**inputs, NOISE: predictor.predict(inputs)[MEAN]})[GENERATED])
        errors = np.square(made.astype(float) - inputs[IMAGE]).reshape(len(made), -1).mean(axis=1)
        ratios.append(10 * np.log10(LARGEST ** 2 / np.maximum(errors, LARGEST ** 2 * 1e-10)))
    return float(np.concatenate(ratios).mean())


def bits_of(images: np.ndarray, said: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the bits of each image for each of its numbers, (images,): see `training.generative.elbo`."""
    mean, log_variance = said[MEAN].astype(float), said[LOG_VARIANCE].astype(float)
    of_each = np.exp(log_variance) + mean ** 2 - 1 - log_variance
    divergence = 0.5 * of_each.reshape(len(mean), -1).sum(axis=1)
    return bits_of_pixels(images, said) + divergence / (math.log(2) * math.prod(images.shape[1:]))


def bits_of_pixels(images: np.ndarray, said: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the bits of each image for each of its numbers, given the distributions of its pixels, (images,)."""
    values = images.astype(float)
    location, scale = said[LOCATION].astype(float), np.exp(said[LOG_SCALE].astype(float))

    def below(level: np.ndarray) -> np.ndarray:
        """Return the logarithm of what lies below a level, and of what lies above it."""
        shifted = (level / LARGEST - location) / scale
        return np.stack([-np.logaddexp(0, -shifted), -np.logaddexp(0, shifted)])

    upper, lower = below(values + 0.5), below(values - 0.5)
    # between two levels: what lies below the upper one, without what lies below the lower one; on the side of the
    # distribution on which these are small
    side = values / LARGEST > location
    large = np.where(side, lower[1], upper[0])
    small = np.where(side, upper[1], lower[0])
    inside = large + np.log(-np.expm1(np.minimum(small - large, -1e-300)))
    known = np.where(values <= 0, upper[0], np.where(values >= LARGEST, lower[1], inside))
    return -known.reshape(len(known), -1).sum(axis=1) / (math.log(2) * math.prod(images.shape[1:]))


def _drawn(predictor: Predictor, inputs: Arrays, folder: Path) -> list[Figure]:
    """Draw what the noise of some test images means."""
    means = predictor.predict(inputs)[MEAN]
    count, *shape = means.shape
    means, size = means.reshape(count, -1), math.prod(shape)

    def made(noise: np.ndarray, rows: np.ndarray) -> np.ndarray:
        asked = {name: values[rows] for name, values in inputs.items()}
        return levels(predictor.predict({**asked, NOISE: noise.reshape(-1, *shape).astype(np.float32)})[GENERATED])

    again = made(means, np.arange(count))
    draw(np.concatenate([inputs[IMAGE], again]), folder / "again.png", count)
    shares = np.linspace(0, 1, COLUMNS)[:, None]
    pairs = [(row, (row + 1) % count) for row in range(min(SHOWN, count))]
    walks = [made((1 - shares) * means[one] + shares * means[other], np.full(COLUMNS, one)) for one, other in pairs]
    draw(np.concatenate(walks), folder / "walks.png")
    changes = []
    for place in range(min(size, SHOWN)):
        noise = np.repeat(means[:1], COLUMNS, axis=0)
        noise[:, place] = np.linspace(-REACH, REACH, COLUMNS)
        changes.append(made(noise, np.zeros(COLUMNS, int)))
    draw(np.concatenate(changes), folder / "traversals.png")
    return [Figure(file="again.png", caption="Test images, and below them what is made of the noise that the encoder "
                                             "says of each"),
            Figure(file="walks.png", caption="From the noise of one test image to that of the next, in equal steps"),
            Figure(file="traversals.png", caption=f"The noise of the first test image with one number changed from "
                                                  f"-{REACH} to {REACH}, a row for each of the first "
                                                  f"{min(size, SHOWN)}")]
