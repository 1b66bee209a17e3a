"""What a translator is worth: chrF and BLEU, by sacrebleu."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.tasks.evaluation import Evaluation, Table, rounded

with epy.lazy_imports():
    import numpy as np
    import sacrebleu

#: Texts that the report shows.
SHOWN = 12


def metrics(answers: Sequence[str], expected: Sequence[str]) -> dict[str, float]:
    """Return chrF (Popović 2015) and BLEU (Papineni et al. 2002) over all texts, 0 to 100, as sacrebleu has them."""
    return rounded({"chrf": sacrebleu.corpus_chrf(list(answers), [list(expected)]).score,
                    "bleu": sacrebleu.corpus_bleu(list(answers), [list(expected)]).score})


class Translations:
    """Collects what texts should be and what is answered.

    Args:
        target, answer: the names of the true tokens and of those that are answered.
        text: from tokens to a text.
        original: from the true tokens to the text that they were made of, as it is written in the data; None where that
            is not known.
    """

    def __init__(self, target: str, answer: str, text: Callable[[np.ndarray], str],
                 original: Callable[[np.ndarray], str | None] = lambda tokens: None):
        self.target, self.answer, self.text, self.original = target, answer, text, original
        self.expected: list[str] = []
        self.answers: list[str] = []

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take a batch; return by how much chrF of each text is below 100, as a share, (batch,)."""
        originals = [(row, self.original(row)) for row in targets[self.target]]
        expected = [self.text(row) if text is None else text for row, text in originals]
        answers = [self.text(row) for row in outputs[self.answer]]
        self.expected += expected
        self.answers += answers
        return np.array([1 - sacrebleu.sentence_chrf(one, [other]).score / 100
                         for one, other in zip(answers, expected, strict=True)])

    def result(self, folder: Path | None = None) -> Evaluation:
        """Return chrF and BLEU over all texts, and a table of some."""
        rows: list[list[str | int | float]] = [
            [one, other, round(sacrebleu.sentence_chrf(other, [one]).score, 1)]
            for one, other in list(zip(self.expected, self.answers, strict=True))[:SHOWN]]
        same = sum(one == other for one, other in zip(self.expected, self.answers, strict=True))
        return Evaluation(
            metrics=metrics(self.answers, self.expected),
            tables=[Table(title="Translations", columns=["expected", "answered", "chrF"], rows=rows)],
            limits=[f"{same:,} of {len(self.expected):,} test texts are translated as they are in the data, to the "
                    "last character.",
                    "It translates texts like those that it learnt from; of others it makes something that looks like "
                    "a translation. Whoever relies on one has it read."])
