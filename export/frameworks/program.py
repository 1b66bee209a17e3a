"""A model in the library that it was made with, asked there."""
from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

#: What a SavedModel for one example calls the function of any number that computes the same, where it has one.
TOGETHER = "litepress_together"


class Program(Protocol):
    """A model that is asked in its own library."""

    def answers(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what it answers, by plain names, in its own layout.

        Args:
            inputs: by plain names, in its own layout, (examples, …) each.

        Raises:
            ValueError: its library is not here, or it does not take them.
        """
        ...
