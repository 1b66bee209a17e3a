"""A language model one token a call, its states in and out: the signature `step`, and the driver that writes text with
it."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from etils import epy

from export.predictors import ChunkedPredictor
from export.signature import Arrays, Function, Signature, Tensor
from models.stepping import Stepping
from pipelines.features.tokenizers.tokenizer import PADDING, START, UNKNOWN

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from export.predictors import Predictor

#: The signature, and what it takes and gives beside states.
STEP, TOKEN, OUTPUT = "step", "token", "logits"
#: States are called state_1, state_2, …, and come out as next_state_1, …
STATE, NEXT = "state_", "next_state_"
#: Steps that integers are calibrated with, at most.
CALIBRATED = 2000


def signature(sizes: Sequence[int], vocabulary: int) -> Signature:
    """Return what a step takes and gives.

    Args:
        sizes: of the states.
    """
    states = [Tensor(name=f"{STATE}{number}", dtype="float32", shape=(size,), role="state",
                     meaning="zeros before the first token, then what the call before gave")
              for number, size in enumerate(sizes, 1)]
    after = [tensor.model_copy(update={"name": f"{NEXT}{number}", "meaning": f"{STATE}{number} of the next call"})
             for number, tensor in enumerate(states, 1)]
    token = Tensor(name=TOKEN, dtype="int32", shape=(), role="tokens",
                   meaning=f"number of a token; {START} before the first")
    logits = Tensor(name=OUTPUT, dtype="float32", shape=(vocabulary,), role="logits",
                    meaning="one per token of the vocabulary; their softmax says which one follows")
    return Signature(name=STEP, inputs=(token, *states), outputs=(logits, *after))


def function(model: Stepping, vocabulary: int) -> Function:
    """Return the function of one step."""
    def call(**tensors: Any) -> dict[str, Any]:
        states = [tensors[f"{STATE}{number}"] for number in range(1, len(model.states) + 1)]
        logits, after = model.call(tensors[TOKEN], states)
        return {OUTPUT: logits, **{f"{NEXT}{number}": state for number, state in enumerate(after, 1)}}

    return Function(signature(model.states, vocabulary), call)


def trajectories(model: Stepping, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """Return inputs of single steps as they come along while texts are read, for calibration.

    Args:
        tokens: int32 (texts, length).
    """
    states = [np.zeros((len(tokens), size), np.float32) for size in model.states]
    inputs = []
    for position in range(tokens.shape[1]):
        inputs.append({TOKEN: tokens[:, position], **{f"{STATE}{number}": state
                                                      for number, state in enumerate(states, 1)}})
        _, after = model.call(tokens[:, position], states)
        states = [np.asarray(state) for state in after]
    there = np.flatnonzero(tokens.T.ravel() != PADDING)
    chosen = there[::-(-len(there) // CALIBRATED)]
    return {name: np.concatenate([one[name] for one in inputs])[chosen] for name in inputs[0]}


class Writer:
    """A model that is asked for one token after the other.

    Args:
        predictor: of a file with the signature `step`, or one that reads some tokens a call; of others the whole text
            so far is asked for each token.
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

    def begun(self, tokens: Sequence[int]) -> np.ndarray:
        """Take what a text begins with, the start among it; return the logits of the token that follows,
        (vocabulary,)."""
        if self.text is not None:
            return self.text.read(tokens)
        for token in tokens:
            logits = self.after(token)
        return logits

    @property
    def room(self) -> int | None:
        """Return how many more tokens it takes; None where any number."""
        return None if self.text is None else self.text.room

    def after(self, token: int) -> np.ndarray:
        """Take a token; return the logits of the one that follows, (vocabulary,)."""
        if self.text is not None:
            return self.text.after(token)
        if self.states is None:
            self.read = [*self.read, token][-self.length:]
            row = np.array(self.read + [PADDING] * (self.length - len(self.read)), np.int32)[None]
            return self.predictor.predict({self.tokens: row})[OUTPUT][0, len(self.read) - 1]
        answer: Arrays = self.predictor.predict({TOKEN: np.array([token], np.int32), **self.states}, STEP)
        self.states = {name: answer[f"{NEXT}{name.removeprefix(STATE)}"] for name in self.states}
        return answer[OUTPUT][0]


def written(writer: Writer, prompt: Sequence[int], count: int, temperature: float, seed: int,
            end: int | None = None) -> Iterator[int]:
    """Yield the tokens that a model goes on with, at most so many; none behind the end, nor more than it takes.

    Args:
        prompt: tokens of the text that is there already.
        temperature: logits are divided by it before one token is drawn; 0 takes the likeliest one.
        end: the token that ends a text, where there is one.
    """
    generator = np.random.default_rng(seed)
    logits = writer.begun([START, *prompt])
    for number in range(count):
        logits = np.array(logits, np.float64)
        logits[[PADDING, UNKNOWN, START]] = -np.inf
        token = int(logits.argmax())
        if temperature:
            shares = np.exp((logits - logits.max()) / temperature)
            token = int(generator.choice(len(shares), p=shares / shares.sum()))
        if token == end:
            return
        yield token
        if writer.room == 0:
            return
        if number + 1 < count:
            logits = writer.after(token)
