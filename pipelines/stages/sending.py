"""What is asked of a server's model: it does the decoding itself, so words go as text."""
from __future__ import annotations

from collections.abc import Callable, Mapping

from etils import epy

from export.predictors import Predictor
from export.signature import DEFAULT, Arrays, Signature
from pipelines.ingest.data import Data

with epy.lazy_imports():
    import numpy as np


class Sending:
    """A predictor of decoded examples over one that is sent them as a server is.

    Args:
        predictor: a SavedModel's, or a client of a server.
        data: whose features say how values are sent.
    """

    def __init__(self, predictor: Predictor, data: Data):
        self.predictor = predictor
        self.data = data
        self.signatures: Mapping[str, Signature] = predictor.signatures

    def predict(self, inputs: Arrays, signature: str = DEFAULT) -> dict[str, np.ndarray]:
        return self.predictor.predict(self._sent(inputs), signature)

    def prepared(self, inputs: Arrays, signature: str = DEFAULT) -> Callable[[], object]:
        return self.predictor.prepared(self._sent(inputs), signature)

    def _sent(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return inputs as they are sent; states, which are no feature's, as they are."""
        known = self.data.sent({name: values for name, values in inputs.items() if name in self.data.features})
        return {**inputs, **known}
