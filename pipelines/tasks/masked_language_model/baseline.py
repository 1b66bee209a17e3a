"""What guesses are worth that look at no text: the most frequent token, and all tokens by how often they occur."""
from __future__ import annotations

from typing import TYPE_CHECKING

from etils import epy

from pipelines.features.tokenizers.tokenizer import PADDING
from pipelines.tasks.masked_language_model.measure import metrics

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

NAME = "most_frequent_token"


def measured(data: Data, target: str) -> dict[str, dict[str, float]]:
    """Return the metrics of the baseline, by its name: counted in what is hidden of the training texts, with one added
    to the count of every token, and measured on what is hidden of the test texts.

    Args:
        target: of the tokens that are hidden.
    """
    vocabulary = len(data.index.names(target))
    learnt, asked = (np.concatenate([targets[target].ravel() for _, targets in data.batches(part)])
                     for part in ("train", "test"))
    counts = 1 + np.bincount(learnt[learnt != PADDING], minlength=vocabulary).astype(float)
    counts[PADDING] = 0
    asked = asked[asked != PADDING]
    likely = counts[asked] / counts.sum()
    return {NAME: metrics(float((asked == counts.argmax()).mean()), float(-np.log(likely).mean()))}
