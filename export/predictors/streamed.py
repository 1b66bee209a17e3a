"""Files that are asked a few steps at a time, asked whole sequences."""
from __future__ import annotations

from collections.abc import Callable, Mapping

from etils import epy

from export.predictors.predictor import BatchPredictor, Predictor
from export.signature import DEFAULT, Arrays, Signature

with epy.lazy_imports():
    import numpy as np

#: What the signatures of streaming files are called: where they give an answer for each step, and where they give the
#: one of a sequence, which is that of the steps so far. See `export.conversion.streaming`.
EVERY_STEP, SO_FAR = "stream_every_step", "stream_so_far"
#: How the names of what they remember begin.
STATE = "state_"


def is_streaming(predictor: Predictor) -> bool:
    """Return whether a predictor is asked a few steps at a time."""
    return bool({EVERY_STEP, SO_FAR} & set(predictor.signatures))


class StreamedPredictor(BatchPredictor):
    """A streaming file that is asked whole sequences, from zeros in what it remembers.

    Args:
        predictor: of the file.
    """

    def __init__(self, predictor: Predictor):
        self.predictor = predictor
        self._ask: Callable[[Arrays, str], dict[str, np.ndarray]] = predictor.predict
        self.own = next(one for name, one in predictor.signatures.items() if name in (EVERY_STEP, SO_FAR))
        steps, *_ = (tensor for tensor in self.own.inputs if not tensor.name.startswith(STATE))
        self.steps = steps
        #: How many steps it is asked at a time.
        self.chunk = int(steps.shape[0] or 1)
        whole = steps.model_copy(update={"shape": (None, *steps.shape[1:])})
        outputs = [tensor for tensor in self.own.outputs if not tensor.name.startswith(STATE)]
        if self.own.name == EVERY_STEP:
            outputs = [tensor.model_copy(update={"shape": (None, *tensor.shape[1:])}) for tensor in outputs]
        self.signatures: Mapping[str, Signature] = {DEFAULT: Signature(inputs=(whole,), outputs=tuple(outputs))}

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        sequence = batch[self.steps.name]
        if sequence.shape[1] % self.chunk:
            raise ValueError(f"a sequence of {sequence.shape[1]} steps does not divide into chunks of {self.chunk}")
        states = self.start()
        parts: dict[str, list[np.ndarray]] = {}
        for first in range(0, sequence.shape[1], self.chunk):
            given = {self.steps.name: sequence[:, first:first + self.chunk], **states}
            outputs = self._ask(given, self.own.name)
            states = {name: outputs[name] for name in states}
            for name, value in outputs.items():
                if name not in states:
                    parts.setdefault(name, []).append(value)
        if self.own.name == SO_FAR:
            return {name: values[-1] for name, values in parts.items()}
        return {name: np.concatenate(values, axis=1) for name, values in parts.items()}

    def calls(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return the inputs of every call that whole sequences make, as examples of the file's own signature."""
        asked: dict[str, list[np.ndarray]] = {}
        inner, own = self.predictor.predict, self.own

        def noted(given: Arrays, name: str) -> dict[str, np.ndarray]:
            for key, value in given.items():
                asked.setdefault(key, []).append(value)
            return inner(given, name)

        self._ask = noted
        try:
            self.predict(inputs)
        finally:
            self._ask = inner
        return {tensor.name: np.concatenate(asked[tensor.name]) for tensor in own.inputs}

    def start(self) -> dict[str, np.ndarray]:
        """Return what it remembers before the first step: zeros."""
        return {tensor.name: np.zeros((1, *(size or 1 for size in tensor.shape)), np.float32)
                for tensor in self.own.inputs if tensor.name.startswith(STATE)}

    def _prepared(self, signature: Signature, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        """Return one call, of the first steps."""
        first = {self.steps.name: batch[self.steps.name][:, :self.chunk], **self.start()}
        return self.predictor.prepared(first, self.own.name)
