"""What summaries are worth: ROUGE, by rouge-score."""
from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.signature import Arrays
from pipelines.errors import UserError
from pipelines.tasks.evaluation import Evaluation, Table, rounded
from pipelines.tasks.translation.measure import SHOWN, Translations

with epy.lazy_imports():
    import numpy as np
    from rouge_score import rouge_scorer

#: Our names of ROUGE's kinds, and its own: words, pairs of words, and the longest common sequence of words.
KINDS = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
MAIN = "rouge_l"


def need_library() -> None:
    """Raise UserError where rouge-score is not installed."""
    try:
        rouge_scorer.RougeScorer  # noqa: B018  lazily imported
    except ImportError:
        raise UserError("task: summarization: rouge-score is not installed; .venv/bin/pip install -e "
                        "'.[summarization]' brings it") from None


@functools.cache
def _scorer() -> Any:
    return rouge_scorer.RougeScorer(list(KINDS.values()), use_stemmer=False)


def scores(answer: str, expected: str) -> dict[str, float]:
    """Return the F-measures of one summary (Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004), 0 to
    100; its words are made of the letters a to z and digits."""
    given = _scorer().score(expected, answer)
    return {name: 100 * given[kind].fmeasure for name, kind in KINDS.items()}


def metrics(answers: Sequence[str], expected: Sequence[str]) -> dict[str, float]:
    """Return the means over all summaries."""
    each = [scores(one, other) for one, other in zip(answers, expected, strict=True)]
    return rounded({name: np.mean([one[name] for one in each]) for name in KINDS})


class Summaries(Translations):
    """Collects what summaries should be and what is answered."""

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take a batch; return by how much ROUGE-L of each summary is below 100, as a share, (batch,)."""
        count = len(super().add(targets, outputs))
        batch = list(zip(self.answers, self.expected, strict=True))[-count:]
        return np.array([1 - scores(one, other)[MAIN] / 100 for one, other in batch])

    def result(self, folder: Path | None = None) -> Evaluation:
        """Return ROUGE over all texts, and a table of some."""
        rows: list[list[str | int | float]] = [
            [one, other, round(scores(other, one)[MAIN], 1)]
            for one, other in list(zip(self.expected, self.answers, strict=True))[:SHOWN]]
        return Evaluation(
            metrics=metrics(self.answers, self.expected),
            tables=[Table(title="Summaries", columns=["expected", "answered", "ROUGE-L"], rows=rows)],
            limits=["ROUGE counts words in common, not whether a summary is true: what it says may not stand in the "
                    "text. Whoever relies on one reads the text.",
                    "It shortens texts like those that it learnt from; of others it makes something that looks like a "
                    "summary."])
