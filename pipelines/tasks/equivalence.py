"""Equivalence: files hold what a model made elsewhere answers, whatever that means."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from export.keras_models import as_graph, imported
from export.signature import Arrays, Tensor
from pipelines.errors import UserError
from pipelines.features.array import Array
from pipelines.features.feature import Field
from pipelines.ingest.index import Index
from pipelines.ingest.section import DataSection
from pipelines.tasks.task import Evaluation, Features, Metric, Table, Task

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    import keras

    from pipelines.training.model_section import ImportedModel

#: What arrays of a model's inputs and of its original answers begin with, in the source.
INPUT, OUTPUT = "input_", "output_"
#: An output of one number agrees within this share of the range of the original's.
NEAR = 0.01


class Equivalence(Task, name="equivalence"):
    """The answers of a model made elsewhere, held against the original's on the given inputs.

    The source has the inputs as fields `input_NAME`, and what the original answered in its own library as
    `output_NAME`; `litepress press` writes it.
    """

    inputs, targets, split = {}, {}, "random"
    metrics = (Metric(name="agreement"),
               Metric(name="largest", label="largest difference", better="lower", shown=False),
               Metric(name="mean", label="mean difference", better="lower", shown=False))
    ranked = True
    worst_caption = "The best, the median and the worst examples by their difference from the original's answer"

    def features_of(self, section: DataSection, fields: Mapping[str, Field]) -> tuple[Features, Features]:
        given = {kind: {field.removeprefix(kind): Array(field=field, dtype=known.dtype)  # type: ignore[arg-type]
                        for field, known in fields.items() if field.startswith(kind)} for kind in (INPUT, OUTPUT)}
        if not all(given.values()):
            raise UserError(f"data: equivalence takes inputs {INPUT}NAME and the original's answers {OUTPUT}NAME; the "
                            f"source has {', '.join(fields)}. litepress press writes such data")
        return dict(given[INPUT]), dict(given[OUTPUT])

    def dimensions(self, index: Index) -> dict[str, Any]:
        raise UserError("task: equivalence is about a model that is there: model: {builder: file, path: …}")

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return tuple(index.targets.values())

    def measure(self, index: Index) -> Differences:
        return Differences(list(index.targets))

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        count = len(next(iter(outputs.values())))
        return ["  ".join(f"{name} {_few(values[number])}" for name, values in outputs.items())
                for number in range(count)]

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        return (f"It computes {', '.join(index.targets)} of {', '.join(index.inputs)}, and differs from the original "
                f"by at most {evaluation.metrics['largest']:.1e} of the largest number of an output.")

    def adopt(self, model: keras.Model, settings: ImportedModel) -> keras.Model:
        """Return a model made elsewhere with inputs and outputs by names that hold in every process. Raises ValueError
        where its graph is not known."""
        return imported.named(model)

    def adopt_graph(self, settings: ImportedModel, index: Index) -> bytes:
        """Return a model that is taken as a graph as a TFLite file of the same names."""
        return as_graph.as_named_tflite(Path(settings.path), list(index.inputs.values()), settings.allow_code)


class Differences:
    """How far answers are from the original's, by output: the largest and the mean difference as shares of the
    original's largest number, and the share of examples whose largest entry is the same one (of an output of one
    number: that differ by at most a hundredth of its range)."""

    def __init__(self, names: list[str]):
        self.largest = dict.fromkeys(names, 0.0)
        self.total = dict.fromkeys(names, 0.0)
        self.numbers = dict.fromkeys(names, 0)
        self.range = {name: (np.inf, -np.inf) for name in names}
        self.near: dict[str, list[np.ndarray]] = {name: [] for name in names}

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        wrong = np.zeros(len(next(iter(targets.values()))))
        for name, expected in targets.items():
            true = np.asarray(expected, np.float64)
            answered = np.asarray(outputs[name], np.float64)
            difference = np.abs(answered - true).reshape(len(true), -1)
            self.largest[name] = max(self.largest[name], float(difference.max(initial=0)))
            self.total[name] += float(difference.sum())
            self.numbers[name] += difference.size
            low, high = self.range[name]
            self.range[name] = (min(low, float(true.min(initial=low))), max(high, float(true.max(initial=high))))
            self.near[name].append(_same(answered, true) if _has_entries(true) else difference[:, 0])
            wrong = np.maximum(wrong, difference.max(axis=1, initial=0))
        return wrong

    def result(self, folder: Path | None = None) -> Evaluation:
        rows: list[list[str | int | float]] = []
        for name, (low, high) in self.range.items():
            scale = max(abs(low), abs(high), 1e-12)
            near = np.concatenate(self.near[name])
            agreement = near if near.dtype == bool else near <= NEAR * max(high - low, 1e-12)
            rows.append([name, float(agreement.mean()), self.largest[name] / scale,
                         self.total[name] / max(1, self.numbers[name]) / scale])
        columns = np.array([row[1:] for row in rows], float)
        metrics = {"agreement": columns[:, 0].min(), "largest": columns[:, 1].max(), "mean": columns[:, 2].max()}
        titles = ["output", *(metric.title for metric in Equivalence.metrics)]
        return Evaluation(metrics={name: float(value) for name, value in metrics.items()},
                          tables=[Table(title="Output by output", columns=titles, rows=rows)])


def _has_entries(values: np.ndarray) -> bool:
    """Return whether an output has several entries an example, so that one of them is the largest."""
    return values.ndim > 1 and values.shape[-1] > 1


def _same(answered: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return, of each example, whether its largest entry is the same one, everywhere in it."""
    equal = answered.argmax(axis=-1) == true.argmax(axis=-1)
    return equal.reshape(len(true), -1).all(axis=1)


def _few(values: np.ndarray) -> str:
    flat = np.ravel(values)
    return " ".join(f"{value:.4g}" for value in flat[:4]) + (" …" if flat.size > 4 else "")
