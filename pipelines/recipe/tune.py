"""The part of a recipe that says what to search."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pipelines.entries import Entry, Section

if TYPE_CHECKING:
    import optuna


class Range(Entry):
    """The values that a setting may take."""

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """Return the trial's value."""
        raise NotImplementedError

    def examples(self) -> list[Any]:
        """Return values that every trial's lie between, or all there are."""
        raise NotImplementedError


class Between(Range):
    """What ranges of numbers share: the lowest and the highest, both possible."""

    bounds: tuple[float, float]

    @model_validator(mode="after")
    def must_rise(self) -> Between:
        if not self.bounds[0] < self.bounds[1]:
            raise PydanticCustomError("bounds", "give the lowest, then the highest value, for instance [0.001, 0.1]")
        return self

    def examples(self) -> list[Any]:
        return list(self.bounds)


class Uniform(Between, name="uniform", shorthand="bounds"):
    """Any number, all alike."""

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        return trial.suggest_float(name, *self.bounds)


class Log(Between, name="log", shorthand="bounds"):
    """Any number, all ratios alike: for rates and decays."""

    bounds: tuple[float, float]

    @field_validator("bounds")
    @classmethod
    def must_be_positive(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] <= 0:
            raise PydanticCustomError("bounds", "a logarithmic range begins above 0")
        return value

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        return trial.suggest_float(name, *self.bounds, log=True)


class Whole(Between, name="whole", shorthand="bounds"):
    """Any whole number."""

    bounds: tuple[int, int]

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        return trial.suggest_int(name, *self.bounds)


class Choice(Range, name="choice", shorthand="values"):
    """One of some values."""

    values: list[bool | int | float | str] = Field(min_length=2)

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        return trial.suggest_categorical(name, self.values)

    def examples(self) -> list[Any]:
        return list(self.values)


class TuneSection(Section):
    """What `litepress tune` searches.

    Args:
        ranges: setting, such as train.schedule.one_cycle.peak, to the values that it may take.
        trials: how many trainings, those that are given up early included.
        metric: to make as good as possible, of the best epoch; what the task watches on the validation split where not
            given.
        sampler: how values are chosen: tpe learns from the trials so far (Bergstra et al. 2011), random does not.
        pruner: gives a trial up when at some epoch it is worse than half of the trials before it (median), at fixed
            epochs if not among the best third (hyperband, Li et al. 2018), or never (none).
        warmup: epochs before which none is given up.
    """

    ranges: dict[str, Range] = Field(min_length=1)
    trials: int = Field(20, ge=1)
    metric: str | None = None
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: Literal["median", "hyperband", "none"] = "median"
    warmup: int = Field(2, ge=0)
