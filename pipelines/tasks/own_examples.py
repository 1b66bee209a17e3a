"""Files of a user's own that hold several examples, such as volumes."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from etils import epy

from pipelines.features.feature import Feature
from pipelines.features.image import Image
from pipelines.ingest.index import Index
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


def in_own_size(files: Sequence[Path], features: Mapping[str, Feature],
                source: Source | None) -> tuple[list[str], list[np.ndarray]]:
    """Return all examples in files, images in their own size with the model's channels: what each is called, and the
    image. Raises UserError where one cannot be read.

    Args:
        source: that the model learnt from, where it is known.
    """
    (image,) = features.values()
    assert isinstance(image, Image)
    titles: list[str] = []
    images: list[np.ndarray] = []
    for file in files:
        read = source.examples_in(file) if source is not None else None
        names, values = read if read is not None else ([str(file)], [image.pixels(file)])
        titles += names
        images += [image.in_own_size(value) for value in values]
    return titles, images


def examples_in(path: Path, features: Mapping[str, Feature], index: Index,
                source: Source | None) -> tuple[list[str], dict[str, np.ndarray]] | None:
    """Return the examples in a file or folder as a model's only input: what each is called, and the inputs; None where
    the source has a file as one example. Raises UserError where it cannot be read.

    Args:
        source: that the model learnt from, where it is known.
    """
    read = source.examples_in(path) if source is not None and len(features) == 1 else None
    if read is None:
        return None
    titles, values = read
    (name, feature), = features.items()
    learnt = index.learnt[name]
    return titles, {name: np.stack([feature.load(tf.constant(value), learnt).numpy() for value in values])}
