"""The steps of samplers in a graph, where each picture may take another number of them."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from etils import epy

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from export.writing.diffusion import Sampler


def plan(left: np.ndarray, counts: Any, sampler: Sampler, first: Any = 0) -> Callable[[Any], Any]:
    """Return the function from the number of a step to what a sampler does at it for each picture, float32 (batch, 6):
    the rows of `export.writing.diffusion.plan`. Behind a picture's last step it has the image and no noise; the rest of
    what it gives there means nothing.

    Args:
        left: see `export.writing.diffusion.signal`.
        counts: steps that are planned for each picture, int32 (batch,).
        first: the number of the first that is taken, int32 (batch,), which has none before it.
    """
    last = len(left) - 1
    known = tf.constant(left, tf.float64)
    sizes = tf.cast(counts, tf.float64)

    def at(number: Any) -> tuple[Any, Any, Any]:
        """Return a step's time and the shares of image and noise."""
        place = tf.minimum(tf.cast(tf.maximum(number, 0), tf.float64), sizes)
        # as np.linspace has it, to the last digit, since times are rounded
        time = tf.where(place >= sizes, tf.zeros_like(sizes), tf.round(place * (-last / sizes) + last))
        share = tf.gather(known, tf.cast(time, tf.int32))
        return time, tf.sqrt(share), tf.sqrt(1 - share)

    def row(number: Any) -> Any:
        time, signals, noises = at(number)
        _, next_signals, next_noises = at(number + 1)
        keep = tf.math.divide_no_nan(next_noises, noises)
        image = next_signals - keep * signals
        before = tf.zeros_like(image)
        if sampler == "dpm_solver":
            _, past_signals, past_noises = at(number - 1)
            ratios = [tf.math.log(tf.math.divide_no_nan(*pair)) for pair in (
                (past_signals, past_noises), (signals, noises), (next_signals, next_noises))]
            inside = (number > first) & (number + 1 < counts)
            slope = -image * (ratios[2] - ratios[1]) / (2 * (ratios[1] - ratios[0]))
            before = tf.where(inside, slope, before)
            image -= before
        return tf.cast(tf.stack([time, signals, noises, keep, image, before], axis=1), tf.float32)

    return row
