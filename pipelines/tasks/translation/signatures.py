"""The signatures of a model that translates: `encode`, once for a text, and `decode_step`, once for each token."""
from __future__ import annotations

from typing import Any

from etils import epy

from export.signature import Arrays, Function, Signature, Tensor
from models.seq2seq import Parts
from pipelines.features.tokenizers.tokenizer import PADDING, START
from pipelines.tasks.translation.driver import ENCODE, SCORED, STEP, TOKEN, TOKENS

with epy.lazy_imports():
    import numpy as np

THERE = "there"
#: Steps that integers are calibrated with, at most.
CALIBRATED = 2000


def functions(parts: Parts, tokens: Tensor, vocabulary: int, *, named: bool) -> list[Function]:
    """Return what an exported model computes: the encoder as the usual signature, and `decode_step`.

    Args:
        tokens: what is read.
        vocabulary: tokens of a translation's vocabulary.
        named: the encoder is called `encode` as well. Of a TFLite file that would be a second copy, and the converter's
            calibrator takes no two with LSTMs.
    """
    handed = [Tensor(name=name, dtype="float32", shape=shape, role="state", meaning="for decode_step")
              for name, shape in parts.sizes.items()]
    there = Tensor(name=THERE, dtype="float32", shape=tokens.shape, role="state",
                   meaning="1 for each token that is read, 0 behind the last")
    token = Tensor(name=TOKEN, dtype="int32", shape=(), role="tokens",
                   meaning=f"number of the token before; {START} before the first")
    logits = Tensor(name=SCORED, dtype="float32", shape=(vocabulary,), role="logits",
                    meaning="one per token of the translation's vocabulary; the largest follows")
    after = [tensor.model_copy(update={"meaning": "for the next call"}) for tensor in handed
             if tensor.name in parts.states]
    encode = Signature(inputs=(tokens,), outputs=(*handed, there))
    step = Signature(name=STEP, inputs=(token, *handed, there), outputs=(logits, *after))

    def encoded(**tensors: Any) -> dict[str, Any]:
        return parts.encode(tensors[TOKENS])

    again = [Function(encode.renamed(ENCODE), encoded)] if named else []
    return [Function(encode, encoded), *again, Function(step, parts.step)]


def trajectories(parts: Parts, tokens: np.ndarray, previous: np.ndarray) -> dict[str, np.ndarray]:
    """Return inputs of single steps as they come along while true translations are written, for calibration.

    Args:
        tokens: that are read, int32 (texts, length).
        previous: of the translations, int32 (texts, length), padded.
    """
    encoded = parts.encode(tokens)
    states = {name: encoded[name] for name in parts.states}
    fixed = {name: value for name, value in encoded.items() if name not in states}
    inputs: list[Arrays] = []
    for place in range(previous.shape[1]):
        there = previous[:, place] != PADDING
        if not there.any():
            break
        step = {TOKEN: previous[:, place], **fixed, **states}
        inputs.append({name: np.asarray(value)[there] for name, value in step.items()})
        answer = parts.step(previous[:, place], **fixed, **states)
        states = {name: answer[name] for name in parts.states}
    every = -(-sum(len(one[TOKEN]) for one in inputs) // CALIBRATED)
    return {name: np.concatenate([one[name] for one in inputs])[::every] for name in inputs[0]}
