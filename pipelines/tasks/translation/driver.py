"""What an app does around a model that translates: encode once, and decode token by token, greedily or with a beam."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from etils import epy

from export.signature import DEFAULT, Arrays
from pipelines.features.tokenizers.tokenizer import END, PADDING, START, UNKNOWN

with epy.lazy_imports():
    import numpy as np

    from export.writing import beam as search

if TYPE_CHECKING:
    from export.predictors import Predictor

#: The signatures of exported files; of TFLite files the first is the usual one alone, see `signatures.functions`.
ENCODE, STEP = "encode", "decode_step"
#: What the second takes and gives beside what the first gives.
TOKEN, SCORED = "token", "logits"
#: What is read, and what has been written so far.
TOKENS, PREVIOUS = "tokens", "previous"
#: What no translation has in it.
NEVER = [PADDING, UNKNOWN, START]

State = dict[str, "np.ndarray"]


class Decoder(Protocol):
    """Gives the next token's logits. A state has a row for each text."""

    def begin(self, inputs: Arrays) -> State:
        """Return the states of texts before the first token is written."""
        ...

    def step(self, token: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Return the logits behind tokens, (texts, vocabulary), and the states then."""
        ...


def decoder(predictor: Predictor, length: int) -> Decoder:
    """Return the decoder of a file with the signatures of a step, or of a model that is asked for all steps at once.

    Args:
        length: tokens of a translation.
    """
    return InSteps(predictor) if STEP in predictor.signatures else AtOnce(predictor, length)


class InSteps:
    """A file whose usual signature encodes, and which has `decode_step`."""

    def __init__(self, predictor: Predictor):
        self.predictor = predictor
        self.takes = {tensor.name for tensor in predictor.signatures[STEP].inputs} - {TOKEN}

    def begin(self, inputs: Arrays) -> State:
        encoded = self.predictor.predict({TOKENS: inputs[TOKENS]}, DEFAULT)
        return {name: encoded[name] for name in self.takes}

    def step(self, token: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        answer = self.predictor.predict({TOKEN: token.astype(np.int32), **state}, STEP)
        changed = {name: answer[name] for name in state if name in answer}
        return answer[SCORED], {**state, **changed}


class AtOnce:
    """A model that takes what is read and what has been written, and says at each place what follows."""

    def __init__(self, predictor: Predictor, length: int):
        self.predictor, self.length = predictor, length

    def begin(self, inputs: Arrays) -> State:
        tokens = np.asarray(inputs[TOKENS])
        return {TOKENS: tokens, PREVIOUS: np.zeros((len(tokens), 0), np.int32)}

    def step(self, token: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        written = np.concatenate([state[PREVIOUS], token[:, None].astype(np.int32)], axis=1)
        count = written.shape[1]
        padded = np.pad(written, [(0, 0), (0, self.length - count)])
        logits = self.predictor.predict({TOKENS: state[TOKENS], PREVIOUS: padded})[SCORED]
        return logits[:, count - 1], {TOKENS: state[TOKENS], PREVIOUS: written}


def greedy(one: Decoder, inputs: Arrays, length: int) -> np.ndarray:
    """Return the likeliest token at each step, int32 (texts, length), the end among them; 0 behind it."""
    state = one.begin(inputs)
    count = len(inputs[TOKENS])
    answer, rows, token = np.zeros((count, length), np.int32), np.arange(count), np.full(count, START, np.int32)
    for place in range(length):
        logits, state = one.step(token, state)
        token = _allowed(logits).argmax(axis=-1).astype(np.int32)
        answer[rows, place] = token
        going = token != END
        rows, token, state = rows[going], token[going], _rows(state, going)
        if not len(rows):
            break
    return answer


def beam(one: Decoder, inputs: Arrays, length: int, width: int) -> np.ndarray:
    """Return the best text that a beam search finds, as `greedy` does: that with the largest mean logarithm of its
    tokens' probabilities.

    Args:
        width: texts that are followed.
    """
    states = one.begin(inputs)
    answer = np.zeros((len(inputs[TOKENS]), length), np.int32)
    for number in range(len(answer)):
        best = _best(one, _rows(states, np.array([number])), length, width)
        answer[number, :len(best)] = best
    return answer


def _best(one: Decoder, state: State, length: int, width: int) -> list[int]:
    first, state = one.step(np.array([START], np.int32), state)

    def step(rows: Sequence[int], texts: Sequence[Sequence[int]]) -> np.ndarray:
        nonlocal state
        last = np.array([text[-1] for text in texts], np.int32)
        logits, state = one.step(last, _rows(state, np.array(rows)))
        return _allowed(logits)

    return search.search(_allowed(first)[0], step, count=length, width=width, end=END)


def _allowed(logits: np.ndarray) -> np.ndarray:
    result = np.array(logits, np.float64)
    result[:, NEVER] = -np.inf
    return result


def _rows(state: Mapping[str, np.ndarray], rows: np.ndarray) -> State:
    return {name: value[rows] for name, value in state.items()}
