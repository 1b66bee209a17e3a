"""What a model is worth: metrics, and the tables and figures that go with them."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from etils import epy
from pydantic import BaseModel

from export.signature import Arrays

with epy.lazy_imports():
    import numpy as np


class Metric(BaseModel, frozen=True):
    """A number that says how good a model is.

    Args:
        name: as gates, MLflow and `--json` call it.
        label: as tables and lines for people call it; the name where not given.
        better: whether a good model has a high or a low one.
        relative: a drop is a share of the reference's value, as for an error or a perplexity, and not a difference.
        shown: whether the line of the evaluate stage has it.
    """

    name: str
    label: str = ""
    better: Literal["higher", "lower"] = "higher"
    relative: bool = False
    shown: bool = True

    @property
    def title(self) -> str:
        return self.label or self.name

    def drop(self, reference: float, value: float) -> float:
        """Return what `value` is worse by than the reference: above 0 where it is worse."""
        worse = reference - value if self.better == "higher" else value - reference
        return round(worse / max(abs(reference), 1e-12) if self.relative else worse, 6)


class Table(BaseModel):
    """A table of an evaluation, for the report."""

    title: str
    columns: list[str]
    rows: list[list[str | int | float]]


class Figure(BaseModel):
    """A drawing of an evaluation: its file, in the evaluation's folder, and what it shows."""

    file: str
    caption: str


class Evaluation(BaseModel):
    """What a predictor is worth on a set of examples.

    Args:
        metrics: by name, as the task's `metrics` has them.
        tables, figures: for the report.
        limits: sentences for the model card, for instance "Weakest classes (F1): ...".
        remarks: what whoever asked should see at once, a few words each.
        baselines: what other models are worth on the same examples, by their names: metrics.
    """

    metrics: dict[str, float]
    tables: list[Table] = []
    figures: list[Figure] = []
    limits: list[str] = []
    remarks: list[str] = []
    baselines: dict[str, dict[str, float]] = {}


class Measure(Protocol):
    """Adds up batches of answers. Nothing grows with the test set unless a metric needs it."""

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take a batch of targets, decoded, and of answers; return how wrong each example is, (batch,): above 0 where
        it is wrong, at most 0 where it is right, NaN where nothing of it was measured."""
        ...

    def result(self, folder: Path | None = None) -> Evaluation:
        """Return what all batches come to; draw figures into the folder, where there is one."""
        ...


def rounded(values: Mapping[str, Any]) -> dict[str, float]:
    """Return metrics with as many digits as tell runs apart."""
    return {name: round(float(value), 6) for name, value in values.items()}
