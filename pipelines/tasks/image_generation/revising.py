"""Pictures that are made of others: what is asked for, and the same in a graph, where each may ask for its own."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etils import epy

from export.signature import Arrays, Tensor
from pipelines.tasks.image_generation.making import IMAGE

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

    from export.writing import diffusion

if TYPE_CHECKING:
    from export.writing.diffusion import Original
    from pipelines.ingest.index import Index

#: What pictures are made of beside noise, how much of it is to change, and where.
ORIGINAL, STRENGTH, MASK = "original", "strength", "mask"
#: The signature of a server that takes them.
REVISE = "revise"
#: The level from which a mask is white.
WHITE = 128


def tensors(index: Index) -> tuple[Tensor, ...]:
    """Return what a server takes of each picture."""
    shape = index.inputs[IMAGE].shape
    return (Tensor(name=ORIGINAL, dtype="uint8", shape=shape, role="image", meaning="pixels 0..255"),
            Tensor(name=MASK, dtype="uint8", shape=(*shape[:2], 1), role="mask",
                   meaning=f"from {WHITE} on the image is made anew, below it is kept"),
            Tensor(name=STRENGTH, dtype="float32", shape=(),
                   meaning="the share of the steps that are taken, 0 to 1: the fewer, the more is left of the image"))


def original(inputs: Arrays) -> Original | None:
    """Return what pictures are made of beside noise, where inputs say it.

    Args:
        inputs: `original`, 0..255, `strength`, the same for all, and `mask` where not all is made anew.
    """
    if ORIGINAL not in inputs:
        return None
    mask = (inputs[MASK] >= WHITE).astype(np.float32) if MASK in inputs else None
    images = inputs[ORIGINAL].astype(np.float32) / 127.5 - 1
    return diffusion.Original(images, float(inputs[STRENGTH][0]), mask)


@dataclasses.dataclass(frozen=True)
class InGraph:
    """`export.writing.diffusion.Original` in a graph.

    Args:
        images: -1..1, (batch, height, width, channels).
        strength: (batch,).
        mask: whether images are made anew, (batch, height, width, 1).
    """

    images: Any
    strength: Any
    mask: Any

    @classmethod
    def of(cls, inputs: Mapping[str, Any]) -> InGraph | None:
        """Return what a server is asked for; None where pictures are made of noise alone."""
        if ORIGINAL not in inputs:
            return None
        strength = inputs[STRENGTH]
        tf.debugging.assert_greater_equal(strength, 0.0, "strength is 0 to 1")
        tf.debugging.assert_less_equal(strength, 1.0, "strength is 0 to 1")
        return cls(tf.cast(inputs[ORIGINAL], tf.float32) / 127.5 - 1, strength, inputs[MASK] >= WHITE)

    def begin(self, counts: Any) -> Any:
        """Return the number of the first step that is taken, int32 (batch,).

        Args:
            counts: steps that are planned, int32 (batch,).
        """
        taken = tf.round(tf.cast(counts, tf.float64) * tf.cast(self.strength, tf.float64))
        return counts - tf.cast(taken, tf.int32)

    def noisy(self, rows: Any, noise: Any) -> Any:
        """Return the images as noisy as they are before a step.

        Args:
            rows: of the plan, (batch, 6).
        """
        signals, noises = (rows[:, place, None, None, None] for place in (1, 2))
        return signals * self.images + noises * noise

    def kept(self, x: Any, rows: Any, noise: Any) -> Any:
        """Return noisy images with the originals, as noisy, where they are not made anew.

        Args:
            rows: of the plan, of the next step, (batch, 6).
        """
        return tf.where(self.mask, x, self.noisy(rows, noise))
