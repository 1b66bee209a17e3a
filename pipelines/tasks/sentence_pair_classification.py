"""Classification of pairs of texts: whether one follows from the other, answers it, or says the same."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from etils import epy

from pipelines.features.outcome import Outcome
from pipelines.features.pair_text import ContinuedText, PairText
from pipelines.ingest.index import Index
from pipelines.ingest.sources.source import Source
from pipelines.tasks import text_files
from pipelines.tasks.classification import LABEL
from pipelines.tasks.task import Evaluation, Features
from pipelines.tasks.text_classification import TOKENS, TextClassification

with epy.lazy_imports():
    import numpy as np

SECOND = "second"


class SentencePairClassification(TextClassification, name="sentence_pair_classification"):
    """One class per pair of texts. Its source is `pairs`, or another that has both in one field, with a tab between.

    A model reads both: the first between a beginning and an end, the second behind it up to an end of its own.
    """

    inputs, targets = {TOKENS: PairText, SECOND: ContinuedText}, {LABEL: Outcome}

    def dimensions(self, index: Index) -> dict[str, Any]:
        return {**super().dimensions(index), "second_length": index.inputs[SECOND].shape[0]}

    def rows_of(self, path: Path, features: Features, index: Index,
                like: Source | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
        """Return the pairs in a user's file, a line or a row each, a tab between the two texts."""
        read = [text_files.rows(path, {name: feature}, index, None) for name, feature in features.items()]
        return read[0][0], {name: values for _, rows in read for name, values in rows.items()}

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        return (f"It tells {len(index.names(LABEL))} classes of pairs of texts apart, by the first "
                f"{index.inputs[TOKENS].shape[0]} and {index.inputs[SECOND].shape[0]} tokens, and answers "
                f"{evaluation.metrics['accuracy']:.2%} of the held-out test pairs correctly.")
