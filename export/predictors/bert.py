"""Files that take what MediaPipe makes of a text, asked the tokens themselves."""
from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping

from etils import epy

from export.predictors.litert import LiteRTPredictor
from export.predictors.predictor import BatchPredictor
from export.signature import DEFAULT, Signature, Tensor
from export.targets.mediapipe import BEGIN, END, IDS, MASK, SEGMENTS, VOCABULARY

with epy.lazy_imports():
    import numpy as np

TOKENS = "tokens"
#: The number of what begins a text, where a model has learnt with it.
LEARNT = 2


def takes_three(predictor: LiteRTPredictor) -> bool:
    """Return whether a file takes `ids`, `mask` and `segment_ids`, and has a vocabulary behind it."""
    first = next(iter(predictor.signatures.values()), None)
    return first is not None and {tensor.name for tensor in first.inputs} == {IDS, MASK, SEGMENTS} and (
        zipfile.is_zipfile(predictor.path))


class BertPredictor(BatchPredictor):
    """A file in MediaPipe's form of BERT, given what MediaPipe makes of a text with these tokens.

    Args:
        predictor: of the file.
    """

    batch = LiteRTPredictor.batch

    def __init__(self, predictor: LiteRTPredictor):
        self.predictor = predictor
        own = next(iter(predictor.signatures.values()))
        with zipfile.ZipFile(predictor.path) as behind:
            lines = behind.read(VOCABULARY).decode().split("\n")
        self.begin, self.end = lines.index(BEGIN), lines.index(END)
        self.has_learnt_ends = self.begin == LEARNT
        length, = own.inputs[0].shape
        assert length is not None
        tokens = Tensor(name=TOKENS, dtype="int32", role="tokens",
                        shape=(length if self.has_learnt_ends else length - 2,))
        self.signatures: Mapping[str, Signature] = {DEFAULT: Signature(inputs=(tokens,), outputs=own.outputs)}

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return self.predictor.predict(self._three(batch[TOKENS]))

    def _prepared(self, signature: Signature, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        return self.predictor.prepared(self._three(batch[TOKENS]))

    def _three(self, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """Return the three inputs, int32, of texts with these tokens, (batch, length)."""
        ids = tokens
        if not self.has_learnt_ends:
            ids = np.pad(tokens, [(0, 0), (1, 1)])
            ids[:, 0] = self.begin
            ids[np.arange(len(ids)), (tokens != 0).sum(axis=1) + 1] = self.end
        return {IDS: ids, MASK: (ids != 0).astype(np.int32), SEGMENTS: np.zeros_like(ids)}
