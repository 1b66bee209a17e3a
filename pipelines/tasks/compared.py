"""What of an artifact's answers is compared with the trained model's."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from export.signature import Arrays, Tensor


def as_they_are(outputs: Arrays, expected: Arrays) -> Arrays:
    """Return outputs whose rows are in the order of what is expected: as they are."""
    return outputs


@dataclasses.dataclass(frozen=True)
class Compared:
    """How the outputs of a file are held against those of the trained model.

    Args:
        tensors: what is compared.
        expected: from what the network itself gave to what this file should.
        paired: from what was made and what is expected to the first with its rows in the expected order, where the
            order means nothing.
        made: from what the file gives to what is compared.
    """

    tensors: Sequence[Tensor]
    expected: Callable[[Arrays], Arrays] = lambda outputs: outputs
    paired: Callable[[Arrays, Arrays], Arrays] = as_they_are
    made: Callable[[Arrays], Arrays] = lambda outputs: outputs
