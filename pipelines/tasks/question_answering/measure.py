"""What answers are worth: F1 and exact match, as SQuAD's script computes them (Rajpurkar et al. 2016)."""
from __future__ import annotations

import collections
import dataclasses
import re
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.tasks.evaluation import Evaluation, Table, rounded

with epy.lazy_imports():
    import numpy as np

#: Questions that the report shows.
SHOWN = 12
PUNCTUATION = set(string.punctuation)


def normalized(text: str) -> str:
    """Return a text in small letters, without punctuation, articles and needless white space."""
    kept = "".join(letter for letter in text.lower() if letter not in PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def exact_match(answer: str, expected: str) -> float:
    """Return 1 where two texts are the same once they are normalized, else 0."""
    return float(normalized(answer) == normalized(expected))


def f1(answer: str, expected: str) -> float:
    """Return the harmonic mean of the shares of words that two normalized texts have in common; where one has none, as
    SQuAD 2.0 has it: 1 if neither has any."""
    said, right = normalized(answer).split(), normalized(expected).split()
    common = sum((collections.Counter(said) & collections.Counter(right)).values())
    if not said or not right:
        return float(said == right)
    return 2 * common / (len(said) + len(right))


def worth(answer: str, expected: Sequence[str]) -> tuple[float, float]:
    """Return F1 and exact match of an answer against the best of those that are right; none right means that there is
    no answer."""
    others = list(expected) or [""]
    return max(f1(answer, one) for one in others), max(exact_match(answer, one) for one in others)


@dataclasses.dataclass(frozen=True)
class Window:
    """A window of a question's text, and what is answered there.

    Args:
        name: of the question.
        question: its words.
        expected: the texts that are right.
        answer: the stretch that scores best in this window, and its score; "" where it has none.
        has_answer: whether what is right stands in this window, or there is none anywhere.
    """

    name: str
    question: str
    expected: Sequence[str]
    answer: str
    score: float
    has_answer: bool = True


class Answers:
    """Collects what windows answer; each question is answered by the window whose answer scores best.

    Args:
        window: from targets and outputs of a batch and a row to what is answered there.
        may_be_none: a score below 0 means that no answer is the likelier one.
    """

    def __init__(self, window: Callable[[Arrays, Arrays, int], Window], rows: Callable[[Arrays], int],
                 may_be_none: bool):
        self.window, self.rows, self.may_be_none = window, rows, may_be_none
        self.best: dict[str, Window] = {}

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take a batch; return by how much F1 of each window's answer is below 1; NaN where the answer stands in
        another window."""
        wrong = []
        for row in range(self.rows(outputs)):
            one = self.window(targets, outputs, row)
            known = self.best.get(one.name)
            if known is None or one.score > known.score:
                self.best[one.name] = one
            wrong.append(1 - worth(self.said(one), one.expected)[0] if one.has_answer else np.nan)
        return np.array(wrong)

    def said(self, one: Window) -> str:
        """Return what is answered: "" where no answer is likelier, and may be."""
        return "" if self.may_be_none and one.score < 0 else one.answer

    def result(self, folder: Path | None = None) -> Evaluation:
        """Return F1 and exact match of all questions, 0 to 100, and a table of some."""
        pairs = [worth(self.said(one), one.expected) for one in self.best.values()]
        values: Mapping[str, float] = {
            "f1": 100 * float(np.mean([pair[0] for pair in pairs])),
            "exact_match": 100 * float(np.mean([pair[1] for pair in pairs]))}
        rows: list[list[str | int | float]] = [
            [one.question, " | ".join(one.expected) or "no answer", self.said(one) or "no answer", round(score[0], 2)]
            for one, score in list(zip(self.best.values(), pairs, strict=True))[:SHOWN]]
        return Evaluation(
            metrics=rounded(values),
            tables=[Table(title="Questions", columns=["question", "expected", "answered", "F1"], rows=rows)],
            limits=["It answers with a stretch of the text that it is given, whether that is true or not, and whether "
                    "or not the text answers the question" + ("." if self.may_be_none else ": it always answers."),
                    "The figures hold for questions and texts like those of the test set."])
