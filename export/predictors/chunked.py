"""TFLite files of language models that read some tokens a call, alone or in a .litertlm archive."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from etils import epy

from export.errors import first_line
from export.predictors.predictor import BatchPredictor
from export.signature import DEFAULT, Signature, Tensor
from export.targets.litert_lm import DECODE, ENDING, OUTPUT, PLACES, PREFILL, TOKENS, is_chunked, model_of

with epy.lazy_imports():
    import numpy as np

#: The token that fills a prefill up: it is written over before anything sees it.
FILL = 0


class ChunkedPredictor(BatchPredictor):
    """A language model that reads some tokens a call, asked whole texts too: token by token, as a phone writes.

    Args:
        path: of a .tflite or .litertlm file with `decode` and prefills of some lengths.
        threads: processor threads to use.

    Raises:
        ValueError: it cannot be read, or has other signatures.
    """

    batch = 1

    def __init__(self, path: Path, threads: int = 1):
        from ai_edge_litert.interpreter import Interpreter

        content = model_of(path) if path.suffix == ENDING else path.read_bytes()
        try:
            interpreter = Interpreter(model_content=content, num_threads=threads)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{path} has no model that LiteRT can run: {first_line(error)}") from error
        names = list(interpreter.get_signature_list())
        if not is_chunked(names):
            raise ValueError(f"{path} has the signatures {', '.join(names) or 'none'}; it must have {DECODE} and "
                             f"{PREFILL}8 or another length")
        self._runners = {name: interpreter.get_signature_runner(name) for name in names}
        taken, given = (getattr(self._runners[DECODE], f"get_{side}_details")() for side in ("input", "output"))
        self.caches = {name: tuple(map(int, one["shape"])) for name, one in taken.items()
                       if name not in (TOKENS, PLACES)}
        self.length = next(iter(self.caches.values()))[2]
        #: Of the prefills, the longest first.
        self.lengths = sorted((int(name.removeprefix(PREFILL)) for name in names if name != DECODE), reverse=True)
        self.vocabulary = int(given[OUTPUT]["shape"][-1])
        self.signatures: Mapping[str, Signature] = {DEFAULT: Signature(
            inputs=(Tensor(name=TOKENS, dtype="int32", shape=(self.length,), role="tokens"),),
            outputs=(Tensor(name=OUTPUT, dtype="float32", shape=(self.length, self.vocabulary), role="logits"),))}

    def text(self) -> Text:
        """Return a text without tokens so far."""
        return Text(self)

    def call(self, name: str, tokens: Sequence[int], place: int,
             caches: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what a signature gives.

        Args:
            tokens: as many as it takes.
            place: of the first.
            caches: keys and values, by name.
        """
        places = place + np.arange(len(tokens), dtype=np.int32)
        return dict(self._runners[name](**{TOKENS: np.array([tokens], np.int32), PLACES: places, **caches}))

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        text = self.text()
        return {OUTPUT: np.stack([text.after(token) for token in batch[TOKENS][0].tolist()])[None]}

    def _prepared(self, signature: Signature, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        """Return the reading of one token behind a text's first: what takes time for each token that is written."""
        first = self.text()
        first.after(int(batch[TOKENS][0, 0]))
        return lambda: self.call(DECODE, [int(batch[TOKENS][0, 0])], 1, first.caches)


class Text:
    """A text that grows, and the keys and values of its tokens."""

    def __init__(self, model: ChunkedPredictor):
        self.model = model
        self.caches = {name: np.zeros(shape, np.float32) for name, shape in model.caches.items()}
        self.size = 0

    @property
    def room(self) -> int:
        """Return how many tokens there is room for."""
        return self.model.length - self.size

    def read(self, tokens: Sequence[int]) -> np.ndarray:
        """Read tokens by as few calls as can be; return the logits of the one that follows, (vocabulary,).

        No prefill goes beyond the end, where it would be written over what is there: what is left is read one by one.

        Raises:
            ValueError: there are none, or more than there is room for.
        """
        if not 0 < len(tokens) <= self.room:
            raise ValueError(f"a text has room for {self.room} more tokens, and {len(tokens)} are to be read; give at "
                             "least 1, and no more than fit")
        left = list(tokens[:-1])
        while left:
            count = next((one for one in self.model.lengths if one <= len(left)), None)
            shortest = self.model.lengths[-1]
            if count is None and shortest <= self.room:
                count = shortest  # filled up
            if count is None:
                self.after(left.pop(0))
                continue
            chunk, left = left[:count], left[count:]
            filled = [*chunk, *[FILL] * (count - len(chunk))]
            self.caches = self.model.call(f"{PREFILL}{count}", filled, self.size, self.caches)
            self.size += len(chunk)
        return self.after(tokens[-1])

    def after(self, token: int) -> np.ndarray:
        """Read one token; return the logits of the one that follows, (vocabulary,). Raises ValueError where there is no
        room."""
        if not self.room:
            raise ValueError(f"the text has {self.size} tokens, as many as the model takes; begin another")
        result = self.model.call(DECODE, [token], self.size, self.caches)
        logits = result.pop(OUTPUT)[0, 0]
        self.caches, self.size = result, self.size + 1
        return logits
