"""What pictures are compared in: what a network sees of them."""
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np


class Seen(NamedTuple):
    """What a judge says of images: its features, (images, features), and the probabilities of its classes, (images,
    classes)."""

    features: np.ndarray
    scores: np.ndarray


class Judging(Protocol):
    """A network that looks at images."""

    @property
    def suffix(self) -> str:
        """Return what stands behind the names of distances in its features."""
        ...

    @property
    def what(self) -> str:
        """Return what it is, in a few words."""
        ...

    @property
    def classes(self) -> int:
        """Return how many of the data's classes it tells apart; 0 where it knows none of them."""
        ...

    def look(self, images: np.ndarray) -> Seen:
        """Return what it says of images, uint8 (images, height, width, 1 or 3 channels)."""
        ...
