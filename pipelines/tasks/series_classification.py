"""Series classification: one class per series, for instance a movement or a device."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from models.series import Series as Steps
from pipelines.errors import UserError
from pipelines.features.label import Label
from pipelines.features.series import Series
from pipelines.ingest.index import Index
from pipelines.ingest.sources import ts_file
from pipelines.ingest.sources.source import Source
from pipelines.ingest.sources.ts_file import LABEL, SERIES
from pipelines.tasks.classes import OUTPUT, ClassMeasure, Row
from pipelines.tasks.classification import Classification
from pipelines.tasks.task import Evaluation, Features

with epy.lazy_imports():
    import numpy as np
    from sklearn import neighbors

if TYPE_CHECKING:
    from export.predictors import Predictor
    from pipelines.ingest.data import Data

#: What a probability of 0 is taken for, in its logarithm.
SMALLEST = 1e-12


class SeriesClassification(Classification, name="series_classification"):
    """One class per series of a fixed number of steps, of one or several variables."""

    inputs, targets = {SERIES: Series}, {LABEL: Label}
    baselines = ("majority", "nearest_neighbour")
    real_inputs = True

    def dimensions(self, index: Index) -> dict[str, Any]:
        known = index.learnt[SERIES].statistics
        return {"series": Steps(name=SERIES, window=int(index.inputs[SERIES].shape[0] or 0), means=tuple(known["mean"]),
                                deviations=tuple(known["deviation"]), horizon=0, classes=len(index.names(LABEL)))}

    def measure(self, index: Index) -> SeriesClassMeasure:
        return SeriesClassMeasure(index.names(LABEL), LABEL)

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with the majority class, and the class of the nearest training series."""
        return evaluation.model_copy(update={"baselines": measured(data)})

    def rows_of(self, path: Path, features: Features, index: Index,
                like: Source | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
        """Return the series of a .ts file."""
        read = ts_file.read(path)
        expected = tuple(index.inputs[SERIES].shape)
        if read.values.shape[1:] != expected:
            raise UserError(f"{path} has series of {read.values.shape[1]} steps and {read.values.shape[2]} variables; "
                            f"the model takes {expected[0]} and {expected[1]}")
        return [f"{path} series {number + 1}" for number in range(len(read.values))], {SERIES: read.values}

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        steps, variables = index.inputs[SERIES].shape
        return (f"It tells {len(index.names(LABEL))} classes apart by {steps} steps of {variables} "
                f"variable{'s' if variables != 1 else ''}, and answers {evaluation.metrics['accuracy']:.2%} of the "
                "held-out test series correctly.")


class SeriesClassMeasure(ClassMeasure):
    """What a classifier of series is worth."""

    def values(self, logits: np.ndarray, labels: np.ndarray, f1: np.ndarray) -> dict[str, Any]:
        return {"accuracy": (logits.argmax(axis=1) == labels).mean(), "macro_f1": f1.mean()}

    def limits(self, rows: Sequence[Row]) -> list[str]:
        weakest = sorted(rows, key=lambda row: row[4])[:3]
        return [f"Weakest classes (F1): {', '.join(f'{row[0]} {row[4]:.3f}' for row in weakest)}.",
                "It always answers one of its classes, whatever the series is.",
                "The figures hold for series like those of the test set: of the same length, rate and way of "
                "measuring."]


def measured(data: Data) -> Mapping[str, dict[str, float]]:
    """Return the metrics of the majority class, and of the nearest neighbour by Euclidean distance, on which sets of
    series have always been measured (Bagnall et al., "The great time series classification bake off", 2017)."""
    inputs, targets = data.arrays("train", data.index.splits["train"].examples)
    count = len(data.index.names(LABEL))
    nearest = neighbors.KNeighborsClassifier(1).fit(_flat(inputs[SERIES]), targets[LABEL])
    usual = np.bincount(targets[LABEL], minlength=count).argmax()
    answers = {"majority": lambda series: np.full(len(series), usual),
               "nearest_neighbour": lambda series: nearest.predict(_flat(series))}
    result = {}
    for name, answer in answers.items():
        measure = SeriesClassMeasure(data.index.names(LABEL), LABEL)
        for some, true in data.batches("test"):
            scores = np.eye(count)[answer(some[SERIES])]
            measure.add(true, {OUTPUT: np.log(np.maximum(scores, SMALLEST))})
        result[name] = measure.result().metrics
    return result


def _flat(series: np.ndarray) -> np.ndarray:
    return series.reshape(len(series), -1)
