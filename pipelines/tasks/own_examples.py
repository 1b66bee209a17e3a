"""Files of a user's own that hold several examples, such as volumes."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from etils import epy

from pipelines.features.feature import Feature
from pipelines.ingest.index import Index
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


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
