"""TFLite files of language models that read some tokens a call, alone or in a .litertlm archive."""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epy

from export.errors import first_line
from export.predictors.predictor import BatchPredictor
from export.signature import DEFAULT, Signature, Tensor
from export.tflite import file as tflite_file
from export.tflite.chunked import DECODE, ENDING, OUTPUT, PLACES, PREFILL, TOKENS, is_chunked, model_of

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from ai_edge_litert.tensor_buffer import TensorBuffer

#: The operator that writes into a cache.
IN_PLACE = "DYNAMIC_UPDATE_SLICE"
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
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator
        from ai_edge_litert.options import CpuOptions, Options

        content = model_of(path) if path.suffix == ENDING else path.read_bytes()
        options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=CpuOptions(num_threads=threads))
        try:
            self._model = CompiledModel.from_buffer(content, options=options)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{path} has no model that LiteRT can run: {first_line(error)}") from error
        self._content = content  # the model's weights lie in it
        names = list(self._model.get_signature_list())
        if not is_chunked(names):
            raise ValueError(f"{path} has the signatures {', '.join(names) or 'none'}; it must have {DECODE} and "
                             f"{PREFILL}8 or another length")
        taken, given = self._model.get_input_tensor_details(DECODE), self._model.get_output_tensor_details(DECODE)
        self.caches = {name: tuple(map(int, one["shape"])) for name, one in taken.items()
                       if name not in (TOKENS, PLACES)}
        self.length = next(iter(self.caches.values()))[2]
        #: Of the prefills, the longest first.
        self.lengths = sorted((int(name.removeprefix(PREFILL)) for name in names if name != DECODE), reverse=True)
        self.vocabulary = int(given[OUTPUT]["shape"][-1])
        #: Whether caches may be written where they are read, which saves their copies: this operator does.
        self.is_in_place = IN_PLACE in tflite_file.operators(content)
        self._taken = {name: {one: self._model.create_input_buffer_by_name(name, one) for one in (TOKENS, PLACES)}
                       for name in names}
        self._logits = self._model.create_output_buffer_by_name(DECODE, OUTPUT)
        self.signatures: Mapping[str, Signature] = {DEFAULT: Signature(
            inputs=(Tensor(name=TOKENS, dtype="int32", shape=(self.length,), role="tokens"),),
            outputs=(Tensor(name=OUTPUT, dtype="float32", shape=(self.length, self.vocabulary), role="logits"),))}

    def text(self) -> Text:
        """Return a text without tokens so far."""
        return Text(self)

    def buffers(self) -> dict[str, TensorBuffer]:
        """Return memory for the keys and values of a text, all zeros."""
        result = {}
        for name, shape in self.caches.items():
            result[name] = self._model.create_input_buffer_by_name(DECODE, name)
            result[name].write(np.zeros(math.prod(shape), np.float32))
        return result

    def call(self, name: str, tokens: Sequence[int], place: int, caches: Mapping[str, TensorBuffer],
             after: Mapping[str, TensorBuffer]) -> None:
        """Ask a signature.

        Args:
            tokens: as many as it takes.
            place: of the first.
            caches: keys and values, by name.
            after: where those with the new tokens are written.
        """
        taken = self._taken[name]
        taken[TOKENS].write(np.array(tokens, np.int32))
        taken[PLACES].write(place + np.arange(len(tokens), dtype=np.int32))
        given = {OUTPUT: self._logits} if name == DECODE else {}
        self._model.run_by_name(name, {**taken, **caches}, {**given, **after})

    def logits(self) -> np.ndarray:
        """Return what the last call of `decode` gave, (vocabulary,)."""
        return self._logits.read(self.vocabulary, np.float32)

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        text = self.text()
        return {OUTPUT: np.stack([text.after(token) for token in batch[TOKENS][0].tolist()])[None]}

    def _prepared(self, signature: Signature, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        """Return the reading of one token behind a text's first: what takes time for each token that is written."""
        first = self.text()
        first.after(int(batch[TOKENS][0, 0]))
        return lambda: self.call(DECODE, [int(batch[TOKENS][0, 0])], 1, first.caches, first.others)


class Text:
    """A text that grows, and the keys and values of its tokens."""

    def __init__(self, model: ChunkedPredictor):
        self.model, self.size = model, 0
        self.caches = model.buffers()
        #: Where the next call writes them.
        self.others = self.caches if model.is_in_place else model.buffers()

    def copy(self) -> Text:
        """Return another text of the same tokens, which grows by itself."""
        result = Text(self.model)
        result.size = self.size
        for name, shape in self.model.caches.items():
            result.caches[name].write(self.caches[name].read(math.prod(shape), np.float32))
        return result

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
            self._call(f"{PREFILL}{count}", filled)
            self.size += len(chunk)
        return self.after(tokens[-1])

    def after(self, token: int) -> np.ndarray:
        """Read one token; return the logits of the one that follows, (vocabulary,). Raises ValueError where there is no
        room."""
        if not self.room:
            raise ValueError(f"the text has {self.size} tokens, as many as the model takes; begin another")
        self._call(DECODE, [token])
        self.size += 1
        return self.model.logits()

    def _call(self, name: str, tokens: Sequence[int]) -> None:
        self.model.call(name, tokens, self.size, self.caches, self.others)
        self.caches, self.others = self.others, self.caches
