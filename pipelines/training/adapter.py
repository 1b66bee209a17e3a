"""Adapters: few weights beside those of a model, which learn in its place."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epy

from pipelines.entries import Entry

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    import keras

#: What the train stage calls the adapter that it leaves beside the model.
FILE = "adapter.lora.h5"


class Adapter(Entry):
    """What learns beside a model that stays as it is. The methods raise ValueError where it does not fit the model."""

    def fingerprint(self) -> str:
        """Return what changes with the files that it begins with; nothing by default."""
        return ""

    def adapt(self, model: keras.Model, pretrained: Sequence[str]) -> None:
        """Add it to a model with its starting weights, and freeze what stays as it is.

        Args:
            pretrained: names of the layers that have starting weights; all others learn as a whole.
        """
        raise NotImplementedError

    def frozen(self, model: keras.Model) -> str:
        """Return the digest of what stays as it is."""
        raise NotImplementedError

    def merged(self, model: keras.Model) -> list[np.ndarray]:
        """Return the weights of the model without adapter that answers the same, in the order of its `weights`."""
        raise NotImplementedError

    def save(self, model: keras.Model, path: Path) -> None:
        """Write what was learnt beside the model."""
        raise NotImplementedError

    def summary(self, model: keras.Model) -> str:
        """Return what learns, in a line."""
        raise NotImplementedError
