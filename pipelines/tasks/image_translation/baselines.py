"""What a translation is put beside: the image as it is, and the linear filter that is nearest to the targets."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from etils import epy

from export.signature import Arrays
from pipelines.ingest.sources.image_pairs import ImagePairs
from pipelines.tasks.evaluation import Evaluation
from pipelines.tasks.image_translation.measure import GENERATED, IMAGE, TARGET, Likeness
from pipelines.tasks.image_translation.perceptual import Perceptual

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

COPY, FILTER = "copied_input", "linear_filter"
NAMES = (COPY, FILTER)
#: Pixels across and down that a linear filter sees.
SIDE = 7
#: Pixels that it is fitted on at most, but one image at least.
PIXELS = 1_000_000
#: The weights of red, green and blue in grey, as images are made grey elsewhere.
GREY = (0.2989, 0.587, 0.114)


def completed(evaluation: Evaluation, data: Data, unlike: Callable[[], Perceptual] | None = None) -> Evaluation:
    """Return an evaluation with what the baselines are worth on the same test images; the filter is fitted on training
    pairs, which a training without pairs has not seen as such.

    Args:
        unlike: see `Likeness`.
    """
    weights = fitted((inputs[IMAGE], targets[TARGET]) for inputs, targets in _training_pairs(data))
    copied, filtered = Likeness(unlike=unlike), Likeness(unlike=unlike)
    for inputs, targets in data.batches("test"):
        channels = targets[TARGET].shape[-1]
        copied.add(targets, {GENERATED: in_channels(inputs[IMAGE], channels)})
        filtered.add(targets, {GENERATED: applied(weights, inputs[IMAGE])})
    known = {COPY: copied.result().metrics, FILTER: filtered.result().metrics}
    return evaluation.model_copy(update={"baselines": {**evaluation.baselines, **known}})


def fitted(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the weights of the 7 x 7 filter, and of a constant, that bring images nearest to their targets by least
    squares: (7 * 7 * channels + 1, channels of the targets).

    Args:
        pairs: batches of images and targets, (batch, height, width, channels).
    """
    gram, moment = None, None
    for images, targets in pairs:
        for image, target in zip(images, targets, strict=True):
            seen = _neighbourhoods(image)
            expected = target.reshape(-1, target.shape[-1]).astype(float)
            gram = seen.T @ seen if gram is None else gram + seen.T @ seen
            moment = seen.T @ expected if moment is None else moment + seen.T @ expected
    return np.linalg.lstsq(gram, moment, rcond=None)[0]  # type: ignore[arg-type]


def applied(weights: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return images, (batch, height, width, channels), behind a filter."""
    return np.stack([(_neighbourhoods(image) @ weights).reshape(*image.shape[:2], -1) for image in images])


def in_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Return images with one channel repeated, or three weighed into one, where others have so many."""
    if images.shape[-1] == channels:
        return images
    if channels == 1:
        return images.astype(float) @ np.array(GREY)[:, None]
    return np.repeat(images, channels, axis=-1)


def _neighbourhoods(image: np.ndarray) -> np.ndarray:
    """Return what a filter sees of each pixel, and 1, (pixels, 7 * 7 * channels + 1); beyond the border all is
    black."""
    half = SIDE // 2
    padded = np.pad(image.astype(float), ((half, half), (half, half), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE), axis=(0, 1))
    pixels = image.shape[0] * image.shape[1]
    return np.concatenate([windows.reshape(pixels, -1), np.ones((pixels, 1))], axis=1)


def _training_pairs(data: Data) -> Iterator[tuple[Arrays, Arrays]]:
    """Give training pairs, of a source that can make them."""
    source = data.section.source
    if isinstance(source, ImagePairs) and not source.paired:
        section = data.section.model_copy(update={"source": source.model_copy(update={"paired": True})})
        data = type(data)(section, data.task, data.index, data.seed)
    left = PIXELS
    for inputs, targets in data.batches("train"):
        height, width = inputs[IMAGE].shape[1:3]
        count = max(1, left // (height * width))
        yield {name: values[:count] for name, values in inputs.items()}, {name: values[:count] for name, values in
                                                                          targets.items()}
        left -= len(inputs[IMAGE]) * height * width
        if left <= 0:
            return
