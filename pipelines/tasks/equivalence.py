"""Equivalence: files hold what a model made elsewhere answers, whatever that means."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from export.keras_models import as_graph, imported
from export.measure.compare import COSINE, Errors, cosine
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
#: A number agrees within this share of the range of the original's.
NEAR = 0.01
#: How far the sum, or the length, of a row may be from 1 for a row of probabilities, or of length 1.
EXACT = 1e-3


class Equivalence(Task, name="equivalence"):
    """The answers of a model made elsewhere, held against the original's on the given inputs.

    The source has the inputs as fields `input_NAME`, and what the original answered in its own library as
    `output_NAME`; `litepress press` writes it.
    """

    inputs, targets, split = {}, {}, "random"
    metrics = (Metric(name="agreement"),
               Metric(name="largest", label="largest difference", better="lower", shown=False),
               Metric(name="mean", label="mean difference", better="lower", shown=False))
    ranked, held_out = True, False
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
        return (f"It computes {', '.join(index.targets)} of {', '.join(index.inputs)}. Read as it is, in float32, it "
                f"differs from the original by at most {evaluation.metrics['largest']:.1e} of the largest number of an "
                "output; how far each file does is in the table.")

    def adopt(self, model: keras.Model, settings: ImportedModel) -> keras.Model:
        """Return a model made elsewhere with inputs and outputs by names that hold in every process. Raises ValueError
        where its graph is not known."""
        return imported.named(model)

    def adopt_graph(self, settings: ImportedModel, index: Index) -> bytes:
        """Return a model that is taken as a graph as a TFLite file of the same names."""
        return as_graph.as_named_tflite(Path(settings.path), list(index.inputs.values()), settings.allow_code,
                                        settings.layout)

    def serve_graph(self, settings: ImportedModel, index: Index, folder: Path) -> None:
        """Write a model that is taken as a graph as a SavedModel of the same names, where it can be one."""
        as_graph.served(Path(settings.path), folder, list(index.inputs.values()), settings.allow_code, settings.layout)


class Differences:
    """How far answers are from the original's, by output: the largest and the mean difference as shares of the
    original's largest number, and how much of it agrees. What agrees depends on the original's answers:

    - where each row is probabilities, rows whose largest entry is the same one;
    - where each row is of length 1, as embeddings are, rows whose cosine is at least 0.99;
    - else numbers that differ by at most a hundredth of the output's range.
    """

    def __init__(self, names: list[str]):
        self.outputs = {name: _Output() for name in names}

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        wrong = np.zeros(len(next(iter(targets.values()))))
        for name, expected in targets.items():
            difference = self.outputs[name].add(np.asarray(outputs[name], np.float64),
                                                np.asarray(expected, np.float64))
            wrong = np.maximum(wrong, difference.reshape(len(wrong), -1).max(axis=1, initial=0))
        return wrong

    def result(self, folder: Path | None = None) -> Evaluation:
        rows: list[list[str | int | float]] = []
        for name, output in self.outputs.items():
            agreement, what = output.agreement()
            rows.append([name, agreement, output.largest / output.scale, output.mean / output.scale, what])
        columns = np.array([row[1:4] for row in rows], float)
        metrics = {"agreement": columns[:, 0].min(), "largest": columns[:, 1].max(), "mean": columns[:, 2].max()}
        titles = ["output", *(metric.title for metric in Equivalence.metrics), "what agrees"]
        return Evaluation(metrics={name: float(value) for name, value in metrics.items()},
                          tables=[Table(title="Output by output", columns=titles, rows=rows)])


class _Output:
    """Sums over what one output answers; nothing grows with the examples."""

    def __init__(self) -> None:
        self.largest = self.total = 0.0
        self.numbers = self.rows = self.same = self.near = 0
        self.low, self.high = np.inf, -np.inf
        self.errors = Errors()
        #: Whether all rows of the original are probabilities, or of length 1.
        self.are_probabilities = self.are_of_length_1 = True

    def add(self, answered: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Add a batch; return |difference|."""
        difference = np.abs(answered - true)
        self.largest = max(self.largest, float(difference.max(initial=0)))
        self.total += float(difference.sum())
        self.numbers += difference.size
        self.low, self.high = min(self.low, float(true.min(initial=self.low))), max(
            self.high, float(true.max(initial=self.high)))
        self.errors.add(difference.ravel())
        if true.ndim < 2 or true.shape[-1] < 2:
            self.are_probabilities = self.are_of_length_1 = False
            return difference
        self.rows += true.size // true.shape[-1]
        self.same += int((answered.argmax(axis=-1) == true.argmax(axis=-1)).sum())
        self.near += int((cosine(answered, true) >= COSINE).sum())
        self.are_probabilities &= bool((true >= 0).all() and (np.abs(true.sum(axis=-1) - 1) < EXACT).all())
        self.are_of_length_1 &= bool((np.abs(np.linalg.norm(true, axis=-1) - 1) < EXACT).all())
        return difference

    @property
    def scale(self) -> float:
        return max(abs(self.low), abs(self.high), 1e-12)

    @property
    def mean(self) -> float:
        return self.total / max(1, self.numbers)

    def agreement(self) -> tuple[float, str]:
        """Return the share that agrees, and what that is a share of."""
        if self.are_probabilities:
            return self.same / max(1, self.rows), "the largest probability is the same one"
        if self.are_of_length_1:
            return self.near / max(1, self.rows), f"a cosine of {COSINE}"
        within = self.errors.within(NEAR * max(self.high - self.low, 1e-12))
        return within / max(1, self.numbers), f"numbers within {NEAR:.0%} of the range"


def _few(values: np.ndarray) -> str:
    flat = np.ravel(values)
    return " ".join(f"{value:.4g}" for value in flat[:4]) + (" …" if flat.size > 4 else "")
