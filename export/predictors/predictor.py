"""What everything that predicts has in common."""
from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Protocol

from etils import epy

from export.signature import DEFAULT, Arrays, Signature

with epy.lazy_imports():
    import numpy as np


class Predictor(Protocol):
    """Anything that predicts: a file on its runtime, a model in memory, a client of a server.

    It keeps nothing between calls: what a model remembers goes out of one call and into the next.
    """

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """Return the ways to call it, by name."""
        ...

    def predict(self, inputs: Arrays, signature: str = DEFAULT) -> dict[str, np.ndarray]:
        """Return outputs by name for a batch of inputs by name; the first axis of each array counts the examples."""
        ...

    def prepared(self, inputs: Arrays, signature: str = DEFAULT) -> Callable[[], object]:
        """Return one inference on one example whose input is in place already: what a benchmark times."""
        ...


class BatchPredictor(abc.ABC):
    """A predictor over calls of batches: fits inputs to the signature, cuts them into batches, joins the outputs."""

    #: Examples at a time.
    batch: int = 1
    signatures: Mapping[str, Signature]

    def predict(self, inputs: Arrays, signature: str = DEFAULT) -> dict[str, np.ndarray]:
        """Return outputs by name for a batch of inputs by name; the first axis of each array counts the examples.

        Raises:
            ValueError: there is no such signature, or the inputs are not what it takes.
        """
        chosen = choose(self.signatures, signature)
        fitted = chosen.fit(inputs)
        parts = [self._call(chosen, {name: value[start:start + self.batch] for name, value in fitted.items()})
                 for start in range(0, examples(fitted), self.batch)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def prepared(self, inputs: Arrays, signature: str = DEFAULT) -> Callable[[], object]:
        """Return one inference on one example whose input is in place already: what a benchmark times.

        Args:
            inputs: of one example, a batch of one.
        """
        chosen = choose(self.signatures, signature)
        return self._prepared(chosen, chosen.fit(inputs))

    @abc.abstractmethod
    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return the outputs of at most `batch` examples that fit the signature."""

    def _prepared(self, signature: Signature, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        return lambda: self._call(signature, batch)


def choose(signatures: Mapping[str, Signature], name: str = DEFAULT) -> Signature:
    """Return a signature by its name; the first one where the default is asked for and has another name.

    Raises:
        ValueError: there is none of that name.
    """
    if name in signatures:
        return signatures[name]
    if name == DEFAULT and signatures:
        return next(iter(signatures.values()))
    raise ValueError(f"there is no signature {name}; there are {', '.join(signatures) or 'none'}")


def examples(inputs: Arrays) -> int:
    """Return how many examples inputs are of. Raises ValueError where there are none, or not as many of each input."""
    counts = {name: len(value) for name, value in inputs.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise ValueError(f"the inputs of a batch have different numbers of examples: {listed}")
    count = next(iter(counts.values()), 0)
    if not count:
        raise ValueError("there are no examples to predict")
    return count
