"""Inception as a judge: the features that the Fréchet distance is known for, where its weights are there."""
from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar

from etils import epy

from export.errors import first_line
from pipelines.errors import UserError
from pipelines.tasks.image_generation.seen import Seen

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf

#: The setting that asks for it.
SETTING = "task.image_generation.judge"
#: Pixels of the images that it sees across and down, and images that it is asked at once.
SIDE, BATCH = 299, 32


class Inception:
    """InceptionV3 of keras.applications, whose last pooled maps are the features; it tells none of the data's classes
    apart.

    Images are brought to 299 x 299 pixels as in Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", 2017:
    bilinearly. Its weights are Keras's, learnt on ImageNet, and not those of the paper's graph of 2015: distances
    compare with those in the same weights alone.

    Args:
        path: of the weights, with the last layer or without; Keras's own, which are downloaded, where not given.

    Raises:
        UserError: the weights cannot be had.
    """

    suffix: ClassVar[str] = ""
    what: ClassVar[str] = "InceptionV3 with Keras's weights"
    classes: ClassVar[int] = 0

    def __init__(self, path: Path | None):
        self._model = _network(path)

    def look(self, images: np.ndarray) -> Seen:
        """Return its features of images, uint8 (images, height, width, 1 or 3 channels)."""
        features = [self._model(_fitted(images[start:start + BATCH]), training=False).numpy()
                    for start in range(0, len(images), BATCH)]
        return Seen(np.concatenate(features), np.zeros((len(images), 0)))


def _fitted(images: np.ndarray) -> Any:
    """Return images as the network sees them, -1..1, (images, 299, 299, 3)."""
    colours = np.broadcast_to(images.astype(np.float32), (*images.shape[:3], 3))
    return tf.image.resize(colours, (SIDE, SIDE)) / 127.5 - 1


@functools.lru_cache(maxsize=1)
def _network(path: Path | None) -> Any:
    if path is None:
        return _built("imagenet", False)
    if not path.is_file():
        raise UserError(f"{SETTING}: there is no file {path}")
    try:
        return _built(str(path), False)
    except UserError:
        whole = _built(str(path), True)
        return keras.Model(whole.input, whole.get_layer("avg_pool").output)


def _built(weights: str, top: bool) -> Any:
    try:
        return keras.applications.InceptionV3(include_top=top, weights=weights, input_shape=(SIDE, SIDE, 3),
                                              pooling="avg")
    except Exception as error:  # Keras raises bare exceptions where a download fails
        advice = ("give its file, {of: inception, file: PATH}, or a classifier that was trained here"
                  if weights == "imagenet" else "give a file of keras.applications.InceptionV3's weights")
        reason = first_line(error)
        raise UserError(f"{SETTING}: the weights of InceptionV3 cannot be had ({reason}): {advice}") from error
