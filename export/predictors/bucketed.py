"""Files of models of texts with a signature for each of some lengths: a short text goes into a short one."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from etils import epy

from export.predictors.litert import LiteRTPredictor
from export.predictors.predictor import BatchPredictor
from export.signature import DEFAULT, Signature

with epy.lazy_imports():
    import numpy as np

#: How the names of the signatures of shorter texts begin; their length is behind.
UP_TO = "up_to_"
#: The token that fills a text up.
PADDING = 0


def lengths(names: Iterable[str]) -> list[int]:
    """Return the lengths of the signatures of shorter texts among some, the shortest first."""
    return sorted(int(name.removeprefix(UP_TO)) for name in names
                  if name.startswith(UP_TO) and name.removeprefix(UP_TO).isdigit())


def sizes(tokens: np.ndarray) -> np.ndarray:
    """Return how many tokens texts have, (batch,), padding behind them left out, from (batch, length)."""
    count = np.arange(1, tokens.shape[1] + 1)
    return ((tokens != PADDING) * count).max(axis=1, initial=0)


class BucketedPredictor(BatchPredictor):
    """A file with buckets of length: the usual signature takes whole texts, and each is answered by the shortest
    signature that it fits into.

    Args:
        predictor: of the file; its usual signature takes the tokens of one text.
    """

    batch = LiteRTPredictor.batch

    def __init__(self, predictor: LiteRTPredictor):
        self.predictor, self.tensors = predictor, predictor.tensors
        self.signatures: Mapping[str, Signature] = predictor.signatures
        self.tokens, = (tensor.name for tensor in predictor.signatures[DEFAULT].inputs)
        self.lengths = lengths(predictor.signatures)

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        if signature.name != DEFAULT:
            return self.predictor.predict(batch, signature.name)
        tokens = batch[self.tokens]
        chosen = np.array([self._bucket(size) for size in sizes(tokens).tolist()])
        outputs: dict[str, np.ndarray] = {}
        for length in np.unique(chosen).tolist():
            rows = np.flatnonzero(chosen == length)
            for name, values in self.predictor.predict(*self._asked(tokens[rows], length)).items():
                outputs.setdefault(name, np.empty((len(tokens), *values.shape[1:]), values.dtype))[rows] = values
        return outputs

    def _prepared(self, signature: Signature, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        if signature.name != DEFAULT:
            return self.predictor.prepared(batch, signature.name)
        tokens = batch[self.tokens]
        return self.predictor.prepared(*self._asked(tokens, self._bucket(int(sizes(tokens)[0]))))

    def _bucket(self, size: int) -> int:
        """Return the shortest length that a text of so many tokens fits into; 0 for the usual signature, which answers
        of a text without tokens, too: attention has nothing but padding there, and how much there is counts."""
        return next((length for length in self.lengths if length >= size > 0), 0)

    def _asked(self, tokens: np.ndarray, length: int) -> tuple[dict[str, np.ndarray], str]:
        """Return what a bucket is asked, and its signature."""
        return ({self.tokens: tokens[:, :length]}, f"{UP_TO}{length}") if length else ({self.tokens: tokens}, DEFAULT)
