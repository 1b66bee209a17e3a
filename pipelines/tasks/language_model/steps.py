"""A language model one token a call, its states in and out: the signature `step`."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epy

from export.signature import Function, Signature, Tensor
from models.stepping import Stepping
from pipelines.features.tokenizers.tokenizer import PADDING, START

with epy.lazy_imports():
    import numpy as np

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
