"""The driver that goes on with texts: what files are asked for each token, and what is made of their answers."""
from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from etils import epy

from export.predictors import ChunkedPredictor
from export.signature import Arrays
from pipelines.features.tokenizers.tokenizer import PADDING, START, UNKNOWN
from pipelines.tasks.language_model.steps import NEXT, OUTPUT, STATE, STEP, TOKEN

with epy.lazy_imports():
    import numpy as np

    from export.writing import beam, sampling

if TYPE_CHECKING:
    from export.predictors import Predictor
    from export.writing.sampling import Sampling

#: What no text has in it.
NEVER = (PADDING, UNKNOWN, START)
#: What stands for bytes that are no character yet.
REPLACEMENT = "\ufffd"


class Writer:
    """A model that is asked for one token after the other.

    Args:
        predictor: of a file with the signature `step`, or one that reads some tokens a call; of others the whole text
            so far is asked for each token.
        tokens: the name of what is read.
        length: tokens that such others take.
    """

    def __init__(self, predictor: Predictor, tokens: str, length: int):
        self.predictor, self.tokens, self.length = predictor, tokens, length
        known = predictor.signatures.get(STEP)
        self.states: dict[str, np.ndarray] | None = None if known is None else {
            tensor.name: np.zeros((1, *tensor.shape), np.float32)  # type: ignore[arg-type]
            for tensor in known.inputs if tensor.name != TOKEN}
        self.read: list[int] = []
        self.text = predictor.text() if isinstance(predictor, ChunkedPredictor) else None

    def copy(self) -> Writer:
        """Return another with the same text, which goes on by itself."""
        result = copy.copy(self)
        result.text = None if self.text is None else self.text.copy()
        return result

    def begun(self, tokens: Sequence[int]) -> np.ndarray:
        """Take what a text begins with, the start among it; return the logits of the token that follows,
        (vocabulary,)."""
        if self.text is not None:
            return self.text.read(tokens)
        if self.states is None:
            self.read = list(tokens[:-1])
            return self.after(tokens[-1])
        for token in tokens:
            logits = self.after(token)
        return logits

    @property
    def room(self) -> int | None:
        """Return how many more tokens it takes; None where any number."""
        if self.text is not None:
            return self.text.room
        return None if self.states is not None else self.length - len(self.read)

    def after(self, token: int) -> np.ndarray:
        """Take a token; return the logits of the one that follows, (vocabulary,)."""
        if self.text is not None:
            return self.text.after(token)
        if self.states is None:
            self.read = [*self.read, token]
            row = np.array(self.read + [PADDING] * (self.length - len(self.read)), np.int32)[None]
            return self.predictor.predict({self.tokens: row})[OUTPUT][0, len(self.read) - 1]
        answer: Arrays = self.predictor.predict({TOKEN: np.array([token], np.int32), **self.states}, STEP)
        self.states = {name: answer[f"{NEXT}{name.removeprefix(STATE)}"] for name in self.states}
        return answer[OUTPUT][0]


@dataclasses.dataclass(frozen=True)
class Writing:
    """How much a model writes, and how.

    Args:
        count: tokens, at most.
        sampling: how each is chosen.
        beams: texts that a beam search follows; 1 chooses token by token.
        length_penalty: of the beam search, see `beam.by_length`.
        least: tokens before a text may end.
        stops: strings that end a text, and are not part of it.
    """

    count: int
    sampling: Sampling
    beams: int = 1
    length_penalty: float = 0.6
    least: int = 0
    stops: tuple[str, ...] = ()


def written(writer: Writer, prompt: Sequence[int], how: Writing, end: int | None = None) -> Iterator[int]:
    """Yield the tokens that a model goes on with; none behind the end, nor more than it takes.

    Args:
        prompt: tokens of the text that is there already.
        end: the token that ends a text, where there is one.
    """
    logits = writer.begun([START, *prompt])
    count = how.count if writer.room is None else min(how.count, writer.room + 1)
    if how.beams > 1:
        yield from _searched(writer, logits, prompt, dataclasses.replace(how, count=count), end)
        return
    added: list[int] = []
    while len(added) < count:
        if added:
            logits = writer.after(added[-1])
        token = sampling.chosen(logits, how.sampling, len(added), text=[*prompt, *added],
                                never=_barred(how, len(added), end))
        if token == end:
            return
        yield token
        added.append(token)


def _searched(writer: Writer, logits: np.ndarray, prompt: Sequence[int], how: Writing,
              end: int | None) -> list[int]:
    """Return the tokens of the best text that a beam search finds, without its end."""
    def scored(one: np.ndarray, text: Sequence[int]) -> np.ndarray:
        return sampling.allowed(one, how.sampling, [*prompt, *text], _barred(how, len(text), end))

    writers = [writer]

    def step(rows: Sequence[int], texts: Sequence[Sequence[int]]) -> np.ndarray:
        nonlocal writers
        writers = [writers[row].copy() for row in rows]
        return np.stack([scored(one.after(text[-1]), text) for one, text in zip(writers, texts, strict=True)])

    best = beam.search(scored(logits, []), step, count=how.count, width=how.beams, end=end,
                       score=beam.by_length(how.length_penalty))
    return [token for token in best if token != end]


def _barred(how: Writing, size: int, end: int | None) -> list[int]:
    return [*NEVER, *([end] if end is not None and size < how.least else [])]


def pieces(tokens: Iterable[int], before: Sequence[int], text: Callable[[Sequence[int]], str],
           stops: Sequence[str] = ()) -> Iterator[str]:
    """Yield what tokens add to a text, as soon as it is sure: nothing that may become a string that ends it, and no
    characters of which bytes are missing. All of them together are the text that is added.

    Args:
        tokens: that are added.
        before: those that are there already.
        text: of tokens.
        stops: strings that end a text; the first of them is left out with what is behind it.
    """
    added: list[int] = []
    begin, sent, whole = len(text(before)), 0, ""
    for token in tokens:
        added.append(token)
        whole = text([*before, *added])[begin:]
        places = [place for place in (whole.find(stop) for stop in stops) if place >= 0]
        if places:
            whole = whole[:min(places)]
            break
        ready = max(sent, len(whole) - _held(whole, stops))
        if ready > sent:
            yield whole[sent:ready]
            sent = ready
    if len(whole) > sent:
        yield whole[sent:]


def _held(text: str, stops: Sequence[str]) -> int:
    """Return how many characters at the end of a text may begin a stop, or are not whole."""
    unsure = len(text) - len(text.rstrip(REPLACEMENT))
    return max([unsure, *(size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size]))])
