"""What a language model is worth: how well it knows each token of the whole test text before it sees it."""
from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.features.tokenizers.tokenizer import PADDING, UNKNOWN
from pipelines.tasks.evaluation import Evaluation
from pipelines.tasks.language_model import baselines

with epy.lazy_imports():
    import numpy as np


class Surprise:
    """Adds up how many bits the tokens of texts take, each once.

    Args:
        output, target: the names of what a network gives and of the tokens that follow.
        text: from the tokens of one text to what they keep of it.
    """

    def __init__(self, output: str, target: str, text: Callable[[np.ndarray], str]):
        self.output, self.target, self.text = output, target, text
        self.bits, self.tokens, self.characters, self.bytes, self.unknown = 0.0, 0, 0, 0, 0

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take a batch; return the bits of each text's tokens on average, (batch,)."""
        tokens, logits = targets[self.target], np.asarray(outputs[self.output], np.float64)
        shifted = logits - logits.max(axis=-1, keepdims=True)
        own = np.take_along_axis(shifted, tokens[..., None], axis=-1)[..., 0]
        bits = (np.log(np.exp(shifted).sum(axis=-1)) - own) / math.log(2)
        there = tokens != PADDING
        self.bits += float(bits[there].sum())
        self.tokens += int(there.sum())
        self.unknown += int((tokens == UNKNOWN).sum())
        for row in tokens:
            text = self.text(row[row != PADDING])
            self.characters += len(text)
            self.bytes += len(text.encode())
        return np.where(there, bits, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)

    def result(self, folder: Path | None = None) -> Evaluation:
        """Return bits per character, bits per byte and perplexity over all texts."""
        limits = ["It continues texts like those that it learnt from, and knows nothing but how they go on: what it "
                  "writes is no statement of anyone.",
                  f"The figures are over all {self.tokens:,} tokens of the test text, {self.characters:,} characters, "
                  "each stretch of it from its own beginning."]
        if self.unknown:
            limits.append(f"{self.unknown:,} of these tokens are not in the vocabulary; which they are costs no bits "
                          "here, and would cost a program that compresses.")
        metrics = baselines.metrics(self.bits, self.tokens, self.characters, self.bytes)
        return Evaluation(metrics=metrics, limits=limits)
