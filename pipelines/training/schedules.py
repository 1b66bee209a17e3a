"""Learning-rate schedules: the rate as a function of the training step, in closed form.

Positions within a training are shares of it, 0 at its first step and 1 at its last, so that a schedule means the same
for any number of epochs. Every schedule can begin with a linear warm-up.
"""
from __future__ import annotations

import math

from etils import epy
from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pipelines.entries import Entry

with epy.lazy_imports():
    import numpy as np

Rate = Field(0.001, gt=0)


class Schedule(Entry):
    """How the learning rate goes over the training.

    Args:
        warmup: share of all steps in which the rate first rises in a line, from zero to the schedule's first rate.
    """

    warmup: float = Field(0.0, ge=0, lt=1)

    def rate(self, done: float) -> float:
        """Return the rate when the share `done` of the steps after the warm-up is behind."""
        raise NotImplementedError

    def rates(self, steps: int) -> np.ndarray:
        """Return the rate of each of `steps` optimizer steps, float32 (steps,)."""
        rising = int(self.warmup * steps)
        first = self.rate(0.0)
        last = max(1, steps - rising - 1)
        rates = [first * step / rising if step < rising else self.rate((step - rising) / last) for step in range(steps)]
        return np.array(rates, "float32")

    @property
    def changes(self) -> bool:
        """Return whether the rate differs from step to step. One that does not can be lowered by a callback."""
        return True

    def momenta(self, steps: int) -> np.ndarray | None:
        """Return the momentum of each step, float32 (steps,); None where it stays as the optimizer has it."""
        return None


class Constant(Schedule, name="constant", shorthand="peak"):
    """The same rate at every step."""

    peak: float = Rate

    def rate(self, done: float) -> float:
        return self.peak

    @property
    def changes(self) -> bool:
        return self.warmup > 0


class Step(Schedule, name="step", shorthand="peak"):
    """The rate times `factor` after every `every` of the training: He et al. 2016 divide by 10 after each third."""

    peak: float = Rate
    factor: float = Field(0.1, gt=0, lt=1)
    every: float = Field(1 / 3, gt=0, lt=1)

    def rate(self, done: float) -> float:
        return self.peak * self.factor ** math.floor(min(done, 1 - 1e-9) / self.every + 1e-9)


class Piecewise(Schedule, name="piecewise"):
    """One rate up to the first boundary, the next up to the second, and so on.

    Args:
        boundaries: shares of the training, rising.
        rates_between: one more than boundaries; recipes call it `rates`.
    """

    boundaries: list[float]
    rates_between: list[float] = Field(alias="rates")

    @field_validator("boundaries")
    @classmethod
    def must_rise(cls, value: list[float]) -> list[float]:
        if not value or sorted(set(value)) != value or not 0 < value[0] <= value[-1] < 1:
            raise PydanticCustomError("boundaries", "give rising shares between 0 and 1, for instance [0.5, 0.75]")
        return value

    @model_validator(mode="after")
    def must_match(self) -> Piecewise:
        if len(self.rates_between) != len(self.boundaries) + 1 or min(self.rates_between) <= 0:
            raise PydanticCustomError("rates", "give one more rate than boundaries, each above 0")
        return self

    def rate(self, done: float) -> float:
        return self.rates_between[sum(done >= boundary for boundary in self.boundaries)]


class Exponential(Schedule, name="exponential", shorthand="peak"):
    """The rate falls by the same factor at every step, to `end` times the peak."""

    peak: float = Rate
    end: float = Field(0.01, gt=0, le=1)

    def rate(self, done: float) -> float:
        return self.peak * self.end ** done


class Polynomial(Schedule, name="polynomial", shorthand="peak"):
    """The rate falls to `end` times the peak along (1 - done) to the `power`; a line by default."""

    peak: float = Rate
    power: float = Field(1.0, gt=0)
    end: float = Field(0.0, ge=0, le=1)

    def rate(self, done: float) -> float:
        return self.peak * (self.end + (1 - self.end) * (1 - done) ** self.power)


class Cosine(Schedule, name="cosine", shorthand="peak"):
    """Half a cosine from the peak down to `end` times the peak, after a warm-up (Loshchilov & Hutter 2017)."""

    peak: float = Rate
    warmup: float = Field(0.05, ge=0, lt=1)
    end: float = Field(0.0, ge=0, le=1)

    def rate(self, done: float) -> float:
        return self.peak * (self.end + (1 - self.end) * (1 + math.cos(math.pi * done)) / 2)


class CosineRestarts(Schedule, name="cosine_restarts", shorthand="peak"):
    """Cosines that begin again (SGDR, Loshchilov & Hutter 2017).

    Args:
        cycles: how many.
        stretch: how much longer each is than the one before.
        decay: each peak as a share of the one before.
        end: the lowest rate, as a share of the peak.
    """

    peak: float = Rate
    cycles: int = Field(3, ge=1)
    stretch: float = Field(1.0, gt=0)
    decay: float = Field(1.0, gt=0, le=1)
    end: float = Field(0.0, ge=0, le=1)

    def rate(self, done: float) -> float:
        lengths = [self.stretch ** cycle for cycle in range(self.cycles)]
        position = min(done, 1 - 1e-12) * sum(lengths)
        cycle = 0
        while position >= lengths[cycle] and cycle < self.cycles - 1:
            position -= lengths[cycle]
            cycle += 1
        peak = self.peak * self.decay ** cycle
        fallen = (1 + math.cos(math.pi * position / lengths[cycle])) / 2
        return self.peak * self.end + (peak - self.peak * self.end) * fallen


class OneCycle(Schedule, name="one_cycle", shorthand="peak"):
    """Up along half a cosine and down along another (Smith & Topin 2018, in the two-phase form of fast.ai).

    Args:
        peak: the highest rate.
        warmup: share of all steps on the way up.
        start: the first rate, as a share of the peak.
        end: the last rate, as a share of the peak.
        momentum: the highest and the lowest momentum (Adam's beta_1), between which it goes down while the rate goes up
            and back up while it goes down; the optimizer's own, unchanged, where not given. Smith has [0.95, 0.85].
    """

    peak: float = Field(gt=0)
    warmup: float = Field(0.25, gt=0, lt=1)
    start: float = Field(0.04, gt=0, le=1)
    end: float = Field(1e-4, ge=0, le=1)
    momentum: tuple[float, float] | None = None

    @field_validator("momentum")
    @classmethod
    def must_fall(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value and not 1 > value[0] >= value[1] >= 0:
            raise PydanticCustomError(
                "momentum", "give the highest, then the lowest momentum, for instance [0.95, 0.85]")
        return value

    def momenta(self, steps: int) -> np.ndarray | None:
        if self.momentum is None:
            return None
        high, low = self.momentum
        done = np.arange(steps) / max(1, steps - 1)
        down = low + (high - low) * (1 + np.cos(np.pi * done / self.warmup)) / 2
        up = low + (high - low) * (1 - np.cos(np.pi * (done - self.warmup) / (1 - self.warmup))) / 2
        return np.where(done < self.warmup, down, up).astype("float32")

    def rates(self, steps: int) -> np.ndarray:
        done = np.arange(steps) / max(1, steps - 1)
        up = self.start + (1 - self.start) * (1 - np.cos(np.pi * done / self.warmup)) / 2
        down = self.end + (1 - self.end) * (1 + np.cos(np.pi * (done - self.warmup) / (1 - self.warmup))) / 2
        return (self.peak * np.where(done < self.warmup, up, down)).astype("float32")
