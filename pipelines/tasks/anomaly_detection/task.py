"""Anomaly detection: a score for the end of each window of a series, and the threshold above which it is an anomaly."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import BaseModel, Field

from export.signature import Arrays, Tensor
from models.series import Series as Steps
from models.series_anomaly import SCORE, set_threshold
from pipelines.errors import UserError
from pipelines.features.feature import Field as SourceField
from pipelines.features.label import Label
from pipelines.features.series import Series
from pipelines.features.series_name import SeriesName
from pipelines.ingest.index import Index
from pipelines.ingest.section import DataSection
from pipelines.ingest.sources.series_source import KNOWN, LABEL, PAST, SeriesSource
from pipelines.ingest.sources.source import Source
from pipelines.tasks.anomaly_detection import rows
from pipelines.tasks.anomaly_detection.measure import METRICS, THRESHOLD, AnomalyMeasure
from pipelines.tasks.task import Evaluation, Features, Metric, Task
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes

    from pipelines.ingest.data import Data

#: Of which series a window is: an anomaly ends with it.
OWNER = "owner"


class AnomalyDetection(Task, name="anomaly_detection", shorthand="quantile"):
    """When series are out of the ordinary: a model learns what is ordinary, and scores how far a window's end is from
    it.

    It learns from windows that are not labelled as anomalies; the score is by a threshold, which stands in the model
    and in every file, so that an anomaly is what scores above 1.

    Args:
        quantile: of the scores of ordinary validation windows, which is the threshold; 1 for the largest one.
        margin: factor on it.
    """

    inputs = {PAST: Series}
    targets = {LABEL: Label, OWNER: SeriesName}
    split, real_inputs, ranked = "chronological", True, False
    metrics = METRICS
    watched = (Metric(name="error", better="lower"),)
    loss = "mae"
    worst_caption = "The windows that the model is most wrong about"
    quantile: float = Field(1.0, gt=0, le=1)
    margin: float = Field(1.0, gt=0)

    @property
    def data_settings(self) -> Mapping[str, type[BaseModel]]:
        return {}

    def features_of(self, section: DataSection, fields: Mapping[str, SourceField]) -> tuple[Features, Features]:
        """Return what is seen, and whether its end is labelled as an anomaly, in which series."""
        source = section.source
        if not isinstance(source, SeriesSource):
            raise UserError(f"data.source: {source.entry_name} has no series; anomaly_detection takes {{series_table: "
                            "{path: FILE, label: COLUMN}}")
        if LABEL not in fields:
            raise UserError(f"data.source.{source.entry_name}: no column says which steps are anomalies, and without "
                            "one nothing is measured; name it with label")
        if KNOWN in fields or source.horizon:
            raise UserError(f"data.source.{source.entry_name}: anomalies are sought in what is seen alone; set "
                            "horizon: 0, and leave known and calendar out")
        return {PAST: Series()}, {LABEL: Label(), OWNER: SeriesName()}

    def dimensions(self, index: Index) -> dict[str, Any]:
        known = index.learnt[PAST].statistics
        return {"series": Steps(window=int(index.inputs[PAST].shape[0] or 0), means=tuple(known["mean"]),
                                deviations=tuple(known["deviation"]), horizon=0)}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return (Tensor(name=SCORE, dtype="float32", shape=(), meaning="above 1 the end of the window is an anomaly"),)

    def objective(self, loss: Loss, index: Index) -> Objective:
        """Return the score of the windows that are ordinary: the model's own error.

        Raises:
            UserError: the recipe asks for another loss.
        """
        if loss != Loss.read(self.loss):
            raise UserError("train.loss: anomaly_detection learns by the score of its model, a mean absolute error, "
                            f"and not by {loss.entry_name}; leave it out")

        def error(inputs: Any, targets: Any, outputs: Any) -> Any:
            return outputs[SCORE] * targets[LABEL][:, 0]

        return error

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"error": lambda targets, outputs: outputs[SCORE] * targets[LABEL][:, 0]}

    def finish(self, model: keras.Model, data: Data) -> list[str]:
        """Set the threshold by the ordinary windows of the validation part."""
        scores = np.concatenate([np.asarray(model.predict_on_batch(inputs)[SCORE])[targets[LABEL] == 0]
                                 for inputs, targets in data.batches("validation")])
        if not len(scores):
            raise UserError("data: every validation window is labelled as an anomaly, and the threshold is set by "
                            "ordinary ones; change validation")
        threshold = self.margin * float(np.quantile(scores, self.quantile))
        set_threshold(model, threshold)
        return [f"threshold {threshold:.4g} deviations, by {len(scores):,} ordinary validation windows"]

    def measure(self, index: Index) -> AnomalyMeasure:
        return AnomalyMeasure(SCORE, LABEL, OWNER)

    def notes(self, data: Data) -> list[str]:
        source = data.section.source
        assert isinstance(source, SeriesSource)
        return source.described()

    def rows_of(self, path: Path, features: Features, index: Index,
                like: Source | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
        """Return each window of the series in a CSV or Parquet file, by its last stamp."""
        if not isinstance(like, SeriesSource):
            raise UserError(f"{path}: how the model's series are written is not known; ask it in its run's folder")
        return rows.read(path, index, like)

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        return [f"{'anomaly' if score > THRESHOLD else 'ordinary'}, score {score:.3g}" for score in outputs[SCORE]]

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        known = evaluation.metrics
        return (f"It says when a series is out of the ordinary, by its last {index.inputs[PAST].shape[0]} steps; on "
                f"the held-out time its scores have an AUC of {known['auc']:.3f}, at the threshold an F1 of "
                f"{known['f1']:.3f}, and {known['found']:.0%} of the anomalies are found.")

    def labels(self, index: Index) -> list[str]:
        return []

    def draw(self, axes: Axes, data: Data, inputs: Arrays, targets: Arrays, position: int,
             title: str | None = None) -> None:
        data.features[PAST].draw(axes, inputs[PAST][position], data.index.learnt[PAST])
        words = data.features[LABEL].in_words(targets[LABEL][position], data.index.learnt[LABEL])
        axes.set_title(words if title is None else title, fontsize=8)

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        words = data.features[LABEL].in_words(targets[LABEL][position], data.index.learnt[LABEL])
        return f"{words}, score {outputs[SCORE][position]:.2f}"

    def decision(self, outputs: Arrays) -> np.ndarray:
        return outputs[SCORE]
