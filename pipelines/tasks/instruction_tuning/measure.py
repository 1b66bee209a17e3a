"""What a model that answers is worth: whether what it says is the answer, and how surprised it is by it."""
from __future__ import annotations

import math
from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.features.tokenizers.tokenizer import PADDING, START, UNKNOWN
from pipelines.tasks.evaluation import Evaluation, rounded
from pipelines.tasks.language_model.measure import Surprise

with epy.lazy_imports():
    import numpy as np

#: What is never said.
NEVER = (PADDING, UNKNOWN, START)


class AnswerMeasure(Surprise):
    """Counts answers that are given word for word, and adds up the bits of their tokens.

    A model that says the likeliest token each time says the answer if, and only if, at each of the answer's tokens, all
    before it being there, that token is the likeliest: so nothing needs to be written to know it.

    Args:
        output, target: the names of what a network gives and of the answers' tokens.
    """

    def __init__(self, output: str, target: str):
        super().__init__(output, target, lambda tokens: 0)
        self.answers, self.exact, self.right = 0, 0, 0

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take a batch; return the bits of each answer's tokens on average, (batch,)."""
        tokens = targets[self.target]
        said = correct(tokens, outputs[self.output])
        there = tokens != PADDING
        self.answers += len(tokens)
        self.right += int((said & there).sum())
        self.exact += int((said | ~there).all(axis=1).sum())
        return super().add(targets, outputs)

    def result(self, folder: Path | None = None) -> Evaluation:
        """Return the share of answers that are exact, that of their tokens, and the perplexity of these."""
        limits = ["It answers questions like those that it learnt from, and says nothing of what it does not know: to "
                  "any other question too it gives an answer.",
                  f"The figures are over {self.answers:,} answers of {self.tokens:,} tokens, each answer's end counted."
                  " An answer in other words counts as wrong."]
        known, tokens = max(self.answers, 1), max(self.tokens, 1)
        return Evaluation(limits=limits, metrics=rounded({
            "exact_match": self.exact / known, "accuracy": self.right / tokens,
            "perplexity": math.exp(min(self.bits * math.log(2) / tokens, 700))}))


def correct(tokens: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return where a token is the likeliest of those that may be said, bool (batch, length).

    Args:
        tokens: int32 (batch, length).
        logits: (batch, length, vocabulary).
    """
    allowed = np.array(logits, np.float32)
    allowed[..., list(NEVER)] = -np.inf
    return allowed.argmax(axis=-1) == tokens
