"""What taggers are worth: whole entities, counted as CoNLL's evaluation does."""
from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from etils import epy

from export.signature import Arrays
from export.targets import tools
from pipelines.errors import UserError
from pipelines.features.tags import NOTHING
from pipelines.tasks.evaluation import Evaluation, Metric, Table, rounded
from pipelines.tasks.token_classification import words

with epy.lazy_imports():
    import numpy as np

METRICS = (Metric(name="entity_f1", label="entity F1"), Metric(name="entity_precision", label="precision", shown=False),
           Metric(name="entity_recall", label="recall", shown=False), Metric(name="accuracy"))


def need_library() -> None:
    """Raise UserError where what counts entities is not installed."""
    if absent := tools.missing("text"):
        raise UserError(f"task: seqeval counts the entities of token_classification: {absent}")


class EntityMeasure:
    """Adds up the tags of each text.

    An entity is right where its words and its kind are (Tjong Kim Sang and De Meulder, "Introduction to the CoNLL-2003
    Shared Task", 2003), by the library seqeval; F1, precision and recall are over all entities, whatever their kind.

    Args:
        names: of the tags.
        target, output: of the tags and of the logits.

    Raises:
        UserError: the library is not installed.
    """

    def __init__(self, names: Sequence[str], target: str, output: str):
        need_library()
        import seqeval.metrics

        self.metrics = seqeval.metrics
        self.names, self.target, self.output = list(names), target, output
        self.true: list[list[str]] = []
        self.said: list[list[str]] = []

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        true = words.tags(targets, self.target)
        said = words.of_words(outputs[self.output].argmax(axis=-1), targets)
        there = true != NOTHING
        for row, answers, known in zip(true, said, there, strict=True):
            self.true.append([self.names[number] for number in row[known]])
            self.said.append([self.names[number] for number in answers[known]])
        wrong = ((true != said) & there).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        return np.where(there.any(axis=1), wrong, np.nan)

    def result(self, folder: Path | None = None) -> Evaluation:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kinds of which nothing is answered
            report = self.metrics.classification_report(self.true, self.said, output_dict=True, zero_division=0)
            values = {"entity_f1": self.metrics.f1_score(self.true, self.said, zero_division=0),
                      "entity_precision": self.metrics.precision_score(self.true, self.said, zero_division=0),
                      "entity_recall": self.metrics.recall_score(self.true, self.said, zero_division=0),
                      "accuracy": self.metrics.accuracy_score(self.true, self.said)}
        rows: list[list[str | int | float]] = [
            [kind, int(one["support"]), round(float(one["precision"]), 6), round(float(one["recall"]), 6),
             round(float(one["f1-score"]), 6)] for kind, one in report.items() if not kind.endswith(" avg")]
        table = Table(title="Entities", columns=["kind", "in the test texts", "precision", "recall", "F1"], rows=rows)
        return Evaluation(metrics=rounded(values), tables=[table], limits=[
            "An entity counts as right only where all its words and its kind are; half of a name is wrong twice.",
            "Names that the training texts lack are told by the words around them alone."])
