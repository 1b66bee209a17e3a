"""Tables: a class or a number out of the columns of a row."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etils import epy
from pydantic import BaseModel, PrivateAttr

from export.keras_models import graph
from export.signature import Arrays, Function, Signature, Tensor
from models.columns import Column, Columns, Target, fill_unseen
from pipelines.features import columns as said
from pipelines.features.columns import IGNORE
from pipelines.features.feature import Field
from pipelines.features.number import Number
from pipelines.ingest.index import Index
from pipelines.ingest.section import DataSection
from pipelines.ingest.sources.source import Source
from pipelines.tasks import classes
from pipelines.tasks.tabular import baselines, classification, importance, overview, regression, rows, serving
from pipelines.tasks.tabular.adopted import adopted
from pipelines.tasks.tabular.choice import TARGET, inputs_of, target_of
from pipelines.tasks.tabular.classification import TableClassMeasure
from pipelines.tasks.tabular.regression import RegressionMeasure
from pipelines.tasks.task import Evaluation, Features, Metric, Place, Task
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss
from pipelines.training.model_section import ImportedModel, ModelSection

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

OF_CLASSES, OF_NUMBER = classes.OUTPUT, "value"
#: Columns that a drawing of a row shows.
DRAWN = 10
#: An error so many times a linear model's, or an AUC so much below, is far worse.
FAR_OFF, FAR_BELOW = 2.0, 0.2


class Tabular(Task, name="tabular", shorthand="problem"):
    """A class or a number out of the columns of a table.

    Args:
        problem: classification, of a target that is one of several words or whole numbers, or regression, of a number.
        vector: files for devices take all columns as one vector, float32, in the order of the source, positions in
            vocabularies among them; else each column is an input of its own.
    """

    inputs, targets, real_inputs = {}, {}, True
    worst_caption = "The rows that the model is most wrong about"
    problem: Literal["classification", "regression"] = "classification"
    vector: bool = False
    _adopted: ImportedModel | None = PrivateAttr(None)

    @property
    def classifies(self) -> bool:
        """Return whether the target is a class."""
        return self.problem == "classification"

    @property
    def output(self) -> str:
        """Return the name of the model's output."""
        return OF_CLASSES if self.classifies else OF_NUMBER

    @property
    def split(self) -> Literal["stratified", "random"]:  # type: ignore[override]
        return "stratified" if self.classifies else "random"

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        return classification.METRICS if self.classifies else regression.METRICS

    @property
    def watched(self) -> tuple[Metric, ...]:  # type: ignore[override]
        return (Metric(name="accuracy"),) if self.classifies else (Metric(name="mae", label="MAE", better="lower"),)

    @property
    def baselines(self) -> tuple[str, ...]:  # type: ignore[override]
        return baselines.CLASSIFIERS if self.classifies else baselines.REGRESSORS

    @property
    def pairs(self) -> dict[str, str]:  # type: ignore[override]
        return {self.output: TARGET}

    @property
    def loss(self) -> str:  # type: ignore[override]
        return "cross_entropy" if self.classifies else "mse"

    @property
    def data_settings(self) -> Mapping[str, type[BaseModel]]:
        return {"columns": said.Columns, TARGET: said.Target}

    def features_of(self, section: DataSection, fields: Mapping[str, Field]) -> tuple[Features, Features]:
        """Return the columns of the source as inputs, and the one to learn as the target."""
        target = section.setting(TARGET, said.Target).field
        learnt = target_of(fields, target, self.classifies)
        columns = section.setting("columns", said.Columns).root
        if section.group is not None and section.group in fields:  # who an example is of says nothing of others
            columns = {section.group: IGNORE, **columns}
        inputs = inputs_of(fields, columns, target)
        if self._adopted is not None:  # what stands for missing numbers is in a model, or nothing is
            inputs = {name: one.model_copy(update={"missing": None}) if isinstance(one, Number) else one
                      for name, one in inputs.items()}
        return inputs, {TARGET: learnt}

    def of_model(self, section: ModelSection) -> Task:
        if section.imported is None:
            return self
        task = self.model_copy()
        task._adopted = section.imported
        return task

    def dimensions(self, index: Index) -> dict[str, Any]:
        columns = [_column(name, tensor, index) for name, tensor in index.inputs.items()]
        if self.classifies:
            return {"columns": Columns(columns), "target": Target(classes=len(index.names(TARGET)))}
        mean, deviation = _spread(index)
        return {"columns": Columns(columns), "target": Target(mean=mean, deviation=deviation)}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        if self.classifies:
            return (Tensor(name=OF_CLASSES, dtype="float32", shape=(len(index.names(TARGET)),), role="logits",
                           meaning="one per class, in the order of labels.txt; their softmax are the probabilities"),)
        return (Tensor(name=OF_NUMBER, dtype="float32", shape=(), meaning="in the units of the data"),)

    def objective(self, loss: Loss, index: Index) -> Objective:
        """Return the loss; of a number it compares standardized values, whatever the units of the data."""
        compare = super().objective(loss, index)
        if self.classifies:
            return compare
        mean, deviation = _spread(index)

        def standardized(inputs: Any, targets: Any, outputs: Any) -> Any:
            return compare(inputs, {TARGET: (targets[TARGET] - mean) / deviation},
                           {OF_NUMBER: (outputs[OF_NUMBER] - mean) / deviation})

        return standardized

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        if self.classifies:
            return {"accuracy": classes.accuracy(TARGET)}
        return {"mae": lambda targets, outputs: tf.abs(targets[TARGET] - outputs[OF_NUMBER])}

    def measure(self, index: Index) -> TableClassMeasure | RegressionMeasure:
        return TableClassMeasure(index.names(TARGET), TARGET) if self.classifies else RegressionMeasure(TARGET)

    def finish(self, model: keras.Model, data: Data) -> list[str]:
        """Give words that training does not have the mean weights of those that it has."""
        if any(tensor.words for tensor in data.index.inputs.values()):
            fill_unseen(model, overview.word_counts(data))
        return []

    def adopt(self, model: keras.Model, settings: ImportedModel) -> keras.Model:
        """Return a model made elsewhere, of the columns that the recipe names. Raises ValueError where it is of another
        kind."""
        return adopted(model, settings.columns, self.output, self.classifies)

    def notes(self, data: Data) -> list[str]:
        return overview.notes(data)

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with scikit-learn's baselines, and the importance of each column."""
        importances = importance.measured(predictor, data)
        table = importance.table(importances, self.main.title, data.index.splits["test"].examples)
        figure = importance.draw(importances, self.main.title, folder)
        beside = baselines.measured(data)
        remarks = self._remarks(evaluation, beside) if self._adopted is not None else []
        return evaluation.model_copy(update={
            "baselines": beside, "remarks": remarks, "tables": [*evaluation.tables, table, overview.table(data)],
            "figures": [*evaluation.figures, figure]})

    def _remarks(self, evaluation: Evaluation, beside: Mapping[str, Mapping[str, float]]) -> list[str]:
        """Return what is odd about a model made elsewhere: that it is far worse than the linear one."""
        assert self._adopted is not None
        linear, main = self.baselines[0], self.main.name
        value, usual = evaluation.metrics[main], beside[linear][main]
        if (value > FAR_OFF * usual) if self.main.better == "lower" else (value < usual - FAR_BELOW):
            given = f" It is given {', '.join(self._adopted.columns)}" if self._adopted.columns else ""
            return [f"far worse than {linear.replace('_', ' ')}: are the columns in the order in which the model takes "
                    f"them?{given}"]
        return []

    def rows_of(self, path: Path, features: Features, index: Index,
                like: Source | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
        return rows.read(path, features, index, like)

    def signature(self, index: Index, place: Place = "device") -> Signature:
        columns = super().signature(index, place)
        return serving.as_vector(columns) if self.vector and place == "device" else columns

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return, for a server, `serving_default` of named columns, with words as text, and `classify` or `regress` of
        tf.train.Example."""
        function = graph.function(model, super().signature(data.index, place))
        if place == "device":
            return [serving.of_vector(function) if self.vector else function]
        named = serving.with_words(function, data)
        if not self.classifies:
            return [named, serving.regress(serving.of_examples(named, "regress"))]
        scored = classes.with_scores(named)
        return [scored, classes.best_first(serving.of_examples(scored, "classify"), data.index.names(TARGET))]

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        if not self.classifies:
            return [f"{value:.6g}" for value in outputs[OF_NUMBER].tolist()]
        return classes.in_words(outputs[OF_CLASSES], index.names(TARGET))

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        known = evaluation.metrics
        columns = f"{len(index.inputs)} columns"
        if self.classifies:
            return (f"It tells {len(index.names(TARGET))} classes apart by {columns}; of the held-out test rows it "
                    f"answers {known['accuracy']:.2%} correctly, with an AUC of {known['auc']:.4f}.")
        return (f"It predicts a number from {columns}; on the held-out test rows it is off by {known['mae']:.4g} on "
                f"average, and explains {known['r2']:.1%} of the variance.")

    def draw(self, axes: Axes, data: Data, inputs: Arrays, targets: Arrays, position: int,
             title: str | None = None) -> None:
        """Draw a row as text, a line for each of its first columns, under its target."""
        learnt = data.index.learnt
        lines = [f"{name} {data.features[name].in_words(values[position], learnt[name])}"
                 for name, values in list(inputs.items())[:DRAWN]]
        if len(inputs) > DRAWN:
            lines.append("…")
        axes.text(0, 1, "\n".join(lines), va="top", fontsize=6, transform=axes.transAxes)
        axes.axis("off")
        words = data.features[TARGET].in_words(targets[TARGET][position], learnt[TARGET])
        axes.set_title(words if title is None else title, fontsize=8)

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        truth = targets[TARGET][position]
        if not self.classifies:
            return f"{truth:.4g} taken for\n{outputs[OF_NUMBER][position]:.4g}"
        return classes.title(outputs[OF_CLASSES][position], int(truth), data.index.names(TARGET))

    def decision(self, outputs: Arrays) -> np.ndarray:
        if not self.classifies:
            return outputs[OF_NUMBER]
        return classes.decision(outputs)

    def expected(self, outputs: Arrays, index: Index) -> dict[str, str]:
        return {"class": index.names(TARGET)[int(outputs[OF_CLASSES][0].argmax())]} if self.classifies else {}


def _column(name: str, tensor: Tensor, index: Index) -> Column:
    learnt = index.learnt[name]
    if tensor.dtype == "int32":
        return Column(name, words=len(learnt.names))
    mean, deviation, missing = (learnt.statistics[key][0] for key in ("mean", "deviation", "missing"))
    return Column(name, mean=mean, deviation=deviation, missing=missing)


def _spread(index: Index) -> tuple[float, float]:
    """Return the mean and the deviation of the target."""
    known = index.learnt[TARGET].statistics
    return known["mean"][0], known["deviation"][0]
