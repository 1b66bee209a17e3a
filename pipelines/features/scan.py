"""Scans: medical images whose numbers mean something, such as Hounsfield units, and have more than 8 bits."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from export.signature import Tensor
from pipelines.errors import UserError
from pipelines.features.feature import Field, Learnt
from pipelines.features.image import Image

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What is learnt: the values that are black and white, and the channels.
WINDOW, CHANNELS = "window", "channels"
#: The percentiles of the training images that are black and white where a recipe does not say it, and how many pixels
#: of an image are looked at for them.
PERCENTILES, SAMPLED = (0.5, 99.5), 4096
#: What a window is made of for the layers behind it, as if images had 8 bits.
LEVELS = 255.0


class Scan(Image, name="scan"):
    """A slice of a volume, with its neighbours as further channels: float32 (height, width, channels).

    Numbers go into the model as they are in the scanner's file, rescaled to what they mean; the window that they are
    looked at with is a part of the model. It takes the settings of an image but for `channels`, which the source says.
    """

    role, accepts, encoded = "image", ("array",), False

    def learn(self, field: Field, values: Iterable[np.ndarray]) -> Learnt:
        channels = (field.shape or (None, None, 1))[-1] or 1
        low, high = self.window.bounds if self.window is not None else _percentiles(values)
        return Learnt(statistics={WINDOW: [float(low), float(high)], CHANNELS: [float(channels)]})

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        low, high = window_of(learnt)
        return Tensor(name=name, dtype="float32", shape=(*self.size, int(learnt.statistics[CHANNELS][0])),
                      meaning=f"values as they are rescaled in the scanner's file; {low:g} is black, {high:g} white",
                      padded=self.fit == "pad")

    def load(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return self.decode(value, learnt)

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return a slice in the model's size, float32; where it is padded it is as black as the window's lower end."""
        shape = (*self.size, int(learnt.statistics[CHANNELS][0]))
        values = tf.ensure_shape(tf.cast(value, tf.float32), (None, None, shape[-1]))
        if self.fit == "pad":
            black = window_of(learnt)[0]
            values = tf.image.resize_with_crop_or_pad(values - black, *self.size) + black
        else:
            values = tf.image.resize(values, self.size, antialias=True)
        return tf.ensure_shape(values, shape)

    def in_own_size(self, value: Any) -> np.ndarray:
        """Return a slice with its neighbours in its own size, float32 (height, width, channels)."""
        return np.asarray(value, "float32")

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        return None if np.isfinite(value).all() else "has a value that is infinite or not a number (NaN)"

    def from_file(self, path: Path, tensor: Tensor) -> np.ndarray:
        raise UserError(f"{path}: is read by the source that the model learnt from; ask the model in its run's folder")

    def encode(self, value: np.ndarray) -> None:  # type: ignore[override]
        """Return None: files of 8 bits would not keep the values."""

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        """Draw the slice in the middle as the window shows it."""
        low, high = window_of(learnt)
        axes.imshow(value[..., value.shape[-1] // 2], cmap="gray", vmin=low, vmax=high)
        axes.axis("off")


def window_of(learnt: Learnt) -> tuple[float, float]:
    """Return the values that are black and white."""
    low, high = learnt.statistics[WINDOW]
    return low, high


def windows(learnt: Mapping[str, Learnt]) -> dict[str, tuple[float, float]]:
    """Return the values that are black and white, by the names of the features that are scans."""
    return {name: window_of(one) for name, one in learnt.items() if WINDOW in one.statistics}


def to_levels(values: Any, window: tuple[float, float]) -> Any:
    """Return a scan as if it had 8 bits, black at 0 and white at 255, neither rounded nor cut."""
    low, high = window
    return (values - low) * (LEVELS / (high - low))


def from_levels(levels: Any, window: tuple[float, float]) -> Any:
    """Return what `to_levels` was given."""
    low, high = window
    return levels * ((high - low) / LEVELS) + low


def _percentiles(values: Iterable[np.ndarray]) -> tuple[float, float]:
    """Return the values that are black and white in most images; those of no image are 0 and 1."""
    # copies, since a view would keep its whole image; odd steps, since even ones see the same columns of every row
    sampled = [np.ravel(value)[::np.size(value) // SAMPLED | 1].copy() for value in values]
    if not sampled:
        return 0.0, 1.0
    low, high = np.percentile(np.concatenate(sampled), PERCENTILES)
    return float(low), float(high if high > low else low + 1)
