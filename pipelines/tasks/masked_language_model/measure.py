"""What a masked language model is worth: how often its first guess is right, and how likely it finds what is hidden."""
from __future__ import annotations

import math
from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.features.tokenizers.tokenizer import PADDING
from pipelines.tasks.evaluation import Evaluation, rounded

with epy.lazy_imports():
    import numpy as np


class Guessed:
    """Adds up the guesses of texts.

    Args:
        output, target: the names of what a network gives and of the tokens that are hidden.
    """

    def __init__(self, output: str, target: str):
        self.output, self.target = output, target
        self.right, self.surprise, self.guesses = 0, 0.0, 0

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take a batch; return the share of each text's guesses that are wrong, (batch,), NaN where nothing is
        hidden."""
        tokens, logits = targets[self.target], np.asarray(outputs[self.output], np.float64)
        there = tokens != PADDING
        shifted = logits - logits.max(axis=-1, keepdims=True)
        own = np.take_along_axis(shifted, tokens[..., None], axis=-1)[..., 0]
        surprise = np.log(np.exp(shifted).sum(axis=-1)) - own
        right = (logits.argmax(axis=-1) == tokens) & there
        self.right += int(right.sum())
        self.surprise += float(surprise[there].sum())
        self.guesses += int(there.sum())
        count = there.sum(axis=1)
        return np.where(count > 0, 1 - right.sum(axis=1) / np.maximum(count, 1), np.nan)

    def result(self, folder: Path | None = None) -> Evaluation:
        """Return accuracy and perplexity over all guesses."""
        values = metrics(self.right / max(self.guesses, 1), self.surprise / max(self.guesses, 1))
        return Evaluation(metrics=values, limits=[
            f"The figures are over {self.guesses:,} hidden tokens of the test texts, the same ones each time. The "
            "perplexity is that of a token by those on both sides, and not to be compared with a language model's, "
            "which sees one side.",
            "It is made to be trained further; what it guesses is likely, and no statement of anyone."])


def metrics(accuracy: float, surprise: float) -> dict[str, float]:
    """Return the metrics by name.

    Args:
        surprise: -log p of what is hidden, on average.
    """
    return rounded({"accuracy": accuracy, "perplexity": math.exp(min(surprise, 700))})
