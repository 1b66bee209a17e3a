"""Forecasting: the next steps of series, as numbers or as quantiles."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from etils import epy
from pydantic import BaseModel, Field, field_validator
from pydantic_core import PydanticCustomError

from export.signature import Arrays, Tensor
from models.series import FORECAST
from models.series import Series as Steps
from pipelines.errors import UserError
from pipelines.features.feature import Field as SourceField
from pipelines.features.series import Series
from pipelines.ingest.index import Index
from pipelines.ingest.section import DataSection
from pipelines.ingest.sources.series_source import FUTURE, KNOWN, PAST, SCALE, SeriesSource
from pipelines.ingest.sources.source import Source
from pipelines.tasks.forecasting import baselines, drawing, rows
from pipelines.tasks.forecasting.measure import POINT, QUANTILE, ForecastMeasure, middle
from pipelines.tasks.task import Evaluation, Features, Metric, Task
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss
from pipelines.training.quantile_loss import Pinball

with epy.lazy_imports():
    import keras
    import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

#: Steps that a line about a forecast names.
NAMED = 6
Quantile = Annotated[float, Field(gt=0, lt=1)]


class Forecasting(Task, name="forecasting", shorthand="quantiles"):
    """The next steps of series, out of those that have been seen.

    How much is seen and how far a forecast reaches, the source says: its `window` and `horizon`.

    Args:
        quantiles: of each number to come, ascending, as in [0.1, 0.5, 0.9]; one number where there are none. The one
            nearest to the median is the forecast.
    """

    inputs = {PAST: Series}
    targets = {FUTURE: Series, SCALE: Series}
    split, real_inputs, ranked = "chronological", True, True
    baselines = baselines.BASELINES
    watched = (Metric(name="mase", label="MASE", better="lower"),)
    pairs = {FORECAST: FUTURE}
    worst_caption = "What was seen, what came (black) and what was forecast, of the best, median and worst windows"
    quantiles: tuple[Quantile, ...] = ()

    @field_validator("quantiles")
    @classmethod
    def must_ascend(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise PydanticCustomError("quantiles", "give quantiles that ascend, for instance [0.1, 0.5, 0.9]")
        return value

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        return (*POINT, *QUANTILE) if self.quantiles else POINT

    @property
    def loss(self) -> str:  # type: ignore[override]
        return "pinball" if self.quantiles else "mae"

    @property
    def data_settings(self) -> Mapping[str, type[BaseModel]]:
        return {}

    def features_of(self, section: DataSection, fields: Mapping[str, SourceField]) -> tuple[Features, Features]:
        """Return what is seen, what is known ahead where there is such a thing, and what is to come."""
        source = section.source
        if PAST not in fields:
            raise UserError(f"data.source: {source.entry_name} has no series; forecasting takes sunspots, co2, "
                            "macrodata or {series_table: FILE}")
        if FUTURE not in fields:
            raise UserError(f"data.source.{source.entry_name}.horizon is 0, and forecasting looks ahead: give it the "
                            "steps to forecast")
        known: Features = {KNOWN: Series()} if KNOWN in fields else {}
        return {PAST: Series(), **known}, {FUTURE: Series(), SCALE: Series()}

    def dimensions(self, index: Index) -> dict[str, Any]:
        past, future = index.inputs[PAST], index.targets[FUTURE]
        seen = index.learnt[PAST].statistics
        ahead = index.learnt[KNOWN].statistics if KNOWN in index.inputs else {"mean": [], "deviation": []}
        return {"series": Steps(window=int(past.shape[0] or 0), means=tuple(seen["mean"]),
                                deviations=tuple(seen["deviation"]), horizon=int(future.shape[0] or 0),
                                targets=int(future.shape[1] or 0), quantiles=len(self.quantiles),
                                known_means=tuple(ahead["mean"]), known_deviations=tuple(ahead["deviation"]))}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        shape, meaning = index.targets[FUTURE].shape, "in the units of the data, (steps ahead, variables"
        if not self.quantiles:
            return (Tensor(name=FORECAST, dtype="float32", shape=shape, meaning=f"{meaning})"),)
        listed = ", ".join(f"{quantile:g}" for quantile in self.quantiles)
        return (Tensor(name=FORECAST, dtype="float32", shape=(*shape, len(self.quantiles)),
                       meaning=f"{meaning}, quantiles {listed})"),)

    def objective(self, loss: Loss, index: Index) -> Objective:
        """Return the loss of errors in units of MASE's scale, so that all series and variables count alike."""
        if isinstance(loss, Pinball):
            compare = loss.of_quantiles(self.quantiles or [0.5])
        elif self.quantiles:
            raise UserError(f"train.loss: {loss.entry_name} compares numbers, and the task answers quantiles; leave it "
                            "out, or give pinball")
        else:
            compare = loss.build([], self.outputs(index)[0].role)

        def scaled(inputs: Any, targets: Any, outputs: Any) -> Any:
            scale = keras.ops.expand_dims(targets[SCALE], 1)
            answers = outputs[FORECAST]
            by = keras.ops.expand_dims(scale, -1) if self.quantiles else scale
            return compare((targets[FUTURE]) / scale, answers / by)

        return scaled

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        chosen = int(np.argmin(np.abs(np.array(self.quantiles) - 0.5))) if self.quantiles else None

        def mase(targets: Any, outputs: Any) -> Any:
            point = outputs[FORECAST] if chosen is None else outputs[FORECAST][..., chosen]
            scale = keras.ops.expand_dims(targets[SCALE], 1)
            return keras.ops.mean(keras.ops.abs(targets[FUTURE] - point) / scale, axis=(1, 2))

        return {"mase": mase}

    def measure(self, index: Index) -> ForecastMeasure:
        return ForecastMeasure(self.quantiles, FORECAST, FUTURE, SCALE)

    def notes(self, data: Data) -> list[str]:
        """Return from when to when the parts are."""
        source = data.section.source
        assert isinstance(source, SeriesSource)
        return source.described()

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with the baselines, and the forecasts drawn over the truth."""
        drawn = drawing.over_truth(predictor, data, self.quantiles, folder)
        return evaluation.model_copy(update={"baselines": baselines.measured(data),
                                             "figures": [*drawn, *evaluation.figures]})

    def rows_of(self, path: Path, features: Features, index: Index,
                like: Source | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
        """Return the last window of each series in a CSV or Parquet file."""
        if not isinstance(like, SeriesSource):
            raise UserError(f"{path}: how the model's series are written is not known; ask it in its run's folder")
        return rows.read(path, index, like)

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        points = middle(outputs[FORECAST], self.quantiles)
        lines = []
        for point in points:
            numbers = [" ".join(f"{value:.6g}" for value in step) for step in point[:NAMED]]
            lines.append(", ".join(numbers) + (", …" if len(point) > NAMED else ""))
        return lines

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        steps, variables = index.targets[FUTURE].shape
        known = evaluation.metrics
        beside = evaluation.baselines.get("seasonal_naive", {}).get("mase")
        other = "" if beside is None else f"; repeating the last season has {beside:.3f}"
        return (f"It forecasts {variables} variable{'s' if variables != 1 else ''} {steps} step"
                f"{'s' if steps != 1 else ''} ahead out of the last {index.inputs[PAST].shape[0]}; on the held-out "
                f"time it is off by {known['mae']:.4g} on average, a MASE of {known['mase']:.3f}{other}.")

    def draw(self, axes: Axes, data: Data, inputs: Arrays, targets: Arrays, position: int,
             title: str | None = None) -> None:
        """Draw what was seen of the first variable, and what came."""
        drawing.window(axes, inputs[PAST][position], targets[FUTURE][position])
        axes.set_title("" if title is None else title, fontsize=8)

    def draw_answers(self, data: Data, examples: Any, path: Path) -> None:
        drawing.answers(examples, self.quantiles, path)

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        return f"MASE {wrong:.2f}"

    def decision(self, outputs: Arrays) -> np.ndarray:
        """Return the mean forecast of the first variable."""
        return middle(outputs[FORECAST], self.quantiles)[..., 0].mean(axis=1)

    def decided(self, targets: Arrays) -> np.ndarray:
        return targets[FUTURE][..., 0].mean(axis=1)
