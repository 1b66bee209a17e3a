"""Windows that slide over images larger than a model, whose answers are put together."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import Field

from export.signature import Arrays, Function, Signature, Tensor
from pipelines.tasks.task import Place, Task

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    import keras

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

#: What a server calls the signature that takes images of any size.
SIGNATURE = "serving_windows"
#: Windows that a model is asked at once.
AT_ONCE = 16
#: How quickly what a window says counts less towards its border: the deviation of a normal distribution, as a share of
#: its side (Isensee et al., "nnU-Net", Nature Methods 2021).
DEVIATION = 1 / 8
#: What a pixel at the corner counts at least, so that every pixel has an answer.
LEAST = 1e-3


class InWindows(Task):
    """A task that gives numbers for each pixel, and so can take larger images window by window.

    Args:
        windows: images of another size than the model's are not brought to it, but seen in windows of its size that
            overlap by this share of their side: for models that learnt on pieces of images.
    """

    windows: float | None = Field(None, ge=0, lt=0.95)

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return the usual signatures, and for a server `serving_windows`, which takes images of any size."""
        functions = super().functions(model, data, place)
        if place == "device" or self.windows is None:
            return functions
        return [*functions, windowed(functions[0], self.windows)]

    def answer_large(self, predictor: Predictor, image: np.ndarray, name: str, window: Sequence[int]) -> dict[str, Any]:
        """Return what a model says of an image of any size, as a batch of one.

        Args:
            image: raw, (height, width, channels).
            name: of the model's input.
            window: height and width that the model takes.
        """
        assert self.windows is not None
        return slid(lambda parts: predictor.predict({name: parts}), image[None], window, self.windows)


def starts(length: int, window: int, overlap: float) -> list[int]:
    """Return where windows begin that cover a length: the first at 0, the last at its end, evenly apart, each
    overlapping the next by at least a share of it.

    Args:
        length: at least `window`.
    """
    stride = max(1, int(window * (1 - overlap)))
    count = -(-(length - window) // stride) + 1
    return [round(number * (length - window) / max(count - 1, 1)) for number in range(count)]


def weights(window: Sequence[int]) -> np.ndarray:
    """Return how much each pixel of a window counts, float32 (height, width), 1 in the middle."""
    sides = [np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / (size * DEVIATION)) ** 2) for size in window]
    return np.maximum(np.outer(*sides), LEAST).astype("float32")


def slid(ask: Callable[[np.ndarray], Arrays], images: np.ndarray, window: Sequence[int],
         overlap: float) -> dict[str, np.ndarray]:
    """Return what a model says of images of one size, by output: the mean of its windows' numbers, those from their
    middle counting most.

    Args:
        ask: from windows (windows, height, width, channels) to outputs (windows, height, width, ...).
        images: (images, height, width, channels); where they are smaller than a window their border is repeated.
        window: its height and width.
    """
    height, width = images.shape[1:3]
    lacking = [max(0, size - own) for size, own in zip(window, (height, width), strict=True)]
    padded = np.pad(images, ((0, 0), (0, lacking[0]), (0, lacking[1]), (0, 0)), mode="edge")
    corners = list(_corners(padded.shape[1], padded.shape[2], window, overlap))
    counted = weights(window)[..., None]
    totals: dict[str, np.ndarray] = {}
    total = np.zeros((*padded.shape[1:3], 1), "float32")
    parts = [(one, row, column) for one in range(len(images)) for row, column in corners]
    for first in range(0, len(parts), AT_ONCE):
        some = parts[first:first + AT_ONCE]
        outputs = ask(np.stack([padded[one, row:row + window[0], column:column + window[1]]
                                for one, row, column in some]))
        for name, values in outputs.items():
            if name not in totals:
                totals[name] = np.zeros((*padded.shape[:3], values.shape[-1]), "float32")
            for (one, row, column), value in zip(some, values, strict=True):
                totals[name][one, row:row + window[0], column:column + window[1]] += value * counted
    for row, column in corners:
        total[row:row + window[0], column:column + window[1]] += counted
    return {name: (values / total)[:, :height, :width] for name, values in totals.items()}


def windowed(function: Function, overlap: float) -> Function:
    """Return the function of images of any size: as `slid`, in a graph.

    Args:
        function: of images of the model's size to numbers for each pixel, float32 (batch, height, width, ...).
    """
    image, *_ = function.signature.inputs
    numbers = [tensor for tensor in function.signature.outputs if tensor.dtype == "float32"]
    size = [side or 1 for side in image.shape[:2]]
    counted = weights(size)[..., None]

    def call(**tensors: Any) -> dict[str, Any]:
        images = tensors[image.name]
        height, width = tf.shape(images)[1], tf.shape(images)[2]
        across, down = tf.maximum(width, size[1]), tf.maximum(height, size[0])
        padded = tf.gather(images, tf.minimum(tf.range(down), height - 1), axis=1)
        padded = tf.gather(padded, tf.minimum(tf.range(across), width - 1), axis=2)
        rows, columns = _starts(down, size[0], overlap), _starts(across, size[1], overlap)
        corners = tf.reshape(tf.stack(tf.meshgrid(rows, columns, indexing="ij"), -1), [-1, 2])

        def add(number: tf.Tensor, *totals: tf.Tensor) -> tuple[tf.Tensor, ...]:
            row, column = corners[number, 0], corners[number, 1]
            part = padded[:, row:row + size[0], column:column + size[1]]
            outputs = function.call(**{image.name: tf.ensure_shape(part, (None, *image.shape))})
            around = [[0, 0], [row, down - row - size[0]], [column, across - column - size[1]], [0, 0]]
            values = [outputs[tensor.name] * counted for tensor in numbers]
            values.append(tf.ones_like(padded[:, :size[0], :size[1], :1], tf.float32) * counted)
            return (number + 1, *(total + tf.pad(value, around)
                                  for total, value in zip(totals, values, strict=True)))

        shape = [tf.shape(images)[0], down, across]
        channels = [int(tensor.shape[-1] or 1) for tensor in numbers] + [1]
        empty = [tf.zeros([*shape, count]) for count in channels]
        invariants = [tf.TensorShape([]), *(tf.TensorShape([None, None, None, count]) for count in channels)]
        _, *totals = tf.while_loop(lambda number, *_: number < tf.shape(corners)[0], add, [tf.constant(0), *empty],
                                   shape_invariants=invariants)
        return {tensor.name: (value / totals[-1])[:, :height, :width]
                for tensor, value in zip(numbers, totals[:-1], strict=True)}

    def of_any_size(tensor: Tensor) -> Tensor:
        return tensor.model_copy(update={"shape": (None, None, *tensor.shape[2:])})

    return Function(Signature(name=SIGNATURE, inputs=(of_any_size(image),),
                              outputs=tuple(of_any_size(tensor) for tensor in numbers)), call)


def _corners(height: int, width: int, window: Sequence[int], overlap: float) -> Iterator[tuple[int, int]]:
    for row in starts(height, window[0], overlap):
        for column in starts(width, window[1], overlap):
            yield row, column


def _starts(length: Any, window: int, overlap: float) -> Any:
    """Return what `starts` does, of a tensor."""
    stride = max(1, int(window * (1 - overlap)))
    count = -(-(length - window) // stride) + 1
    numbers = tf.cast(tf.range(count), tf.float64)
    apart = tf.cast(length - window, tf.float64) / tf.cast(tf.maximum(count - 1, 1), tf.float64)
    return tf.cast(tf.round(numbers * apart), tf.int32)
