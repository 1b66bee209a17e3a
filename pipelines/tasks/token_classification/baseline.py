"""What a tagger is worth that gives each word the tag that it has most often in training."""
from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from etils import epy

from pipelines.features.tags import NOTHING
from pipelines.tasks.token_classification import words

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

NAME = "most_frequent_tag"


def measured(data: Data, tokens: str, target: str, output: str) -> dict[str, dict[str, float]]:
    """Return the metrics of the baseline, measured on the test split as the model is. Words that the vocabulary lacks
    are one word to it, and so are those that begin with the same piece."""
    counts: dict[int, collections.Counter[int]] = collections.defaultdict(collections.Counter)
    for inputs, targets in data.batches("train"):
        known = words.tags(targets, target)
        there, asked = known != NOTHING, words.of_words(inputs[tokens], targets)
        for word, tag in zip(asked[there].tolist(), known[there].tolist(), strict=True):
            counts[word][tag] += 1
    usual = np.zeros(len(data.index.learnt[tokens].names), int)
    for word, tags in counts.items():
        usual[word] = min(tags, key=lambda tag: (-tags[tag], tag))
    measure = data.task.measure(data.index)
    for inputs, targets in data.batches("test"):
        measure.add(targets, {output: np.eye(len(data.index.names(target)))[usual[inputs[tokens]]]})
    return {NAME: measure.result().metrics}
