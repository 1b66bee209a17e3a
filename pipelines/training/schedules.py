"""Learning-rate schedules: the rate as a function of the training step, in closed form."""
from __future__ import annotations

import math

from etils import epy
from pydantic import Field

from pipelines.entries import Entry

with epy.lazy_imports():
    import keras


class Schedule(Entry):
    """How the learning rate goes over the training."""

    def build(self, steps: int) -> keras.optimizers.schedules.LearningRateSchedule | float:
        """The Keras schedule for a training of `steps` optimizer steps."""
        raise NotImplementedError


class Constant(Schedule, name="constant", shorthand="rate"):
    """The same rate at every step."""

    rate: float = Field(0.001, gt=0)

    def build(self, steps: int) -> float:
        return self.rate


class Cosine(Schedule, name="cosine", shorthand="peak"):
    """A linear warm-up to the peak, then half a cosine down to the floor (SGDR without restarts, Loshchilov & Hutter 2017).

    Args:
        peak: the highest rate.
        warmup: share of all steps taken by the warm-up.
        floor: the last rate, as a share of the peak.
    """

    peak: float = Field(0.001, gt=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    floor: float = Field(0.0, ge=0, le=1)

    def build(self, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
        warmup = int(self.warmup * steps)
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else self.peak, decay_steps=max(1, steps - warmup), alpha=self.floor,
            warmup_target=self.peak if warmup else None, warmup_steps=warmup)


class OneCycle(Schedule, name="one_cycle", shorthand="peak"):
    """Up along half a cosine and down along another (Smith & Topin 2018, in the two-phase form that fast.ai uses).

    Args:
        peak: the highest rate, reached after the warm-up.
        warmup: share of all steps on the way up.
        start: the first rate, as a share of the peak.
        end: the last rate, as a share of the peak.
    """

    peak: float = Field(gt=0)
    warmup: float = Field(0.25, gt=0, lt=1)
    start: float = Field(0.04, gt=0, le=1)
    end: float = Field(1e-4, ge=0, le=1)

    def build(self, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
        return _one_cycle_class()(self.peak, self.warmup, self.start, self.end, steps)


def _one_cycle_class() -> type:
    """Made on demand: its base class is Keras', which a recipe can be read without."""

    class OneCycleRate(keras.optimizers.schedules.LearningRateSchedule):
        def __init__(self, peak: float, warmup: float, start: float, end: float, steps: int):
            self.peak, self.warmup, self.start, self.end, self.steps = peak, warmup, start, end, steps

        def __call__(self, step):
            ops = keras.ops
            done = ops.minimum(ops.cast(step, "float32") / max(1, self.steps - 1), 1.0)
            up, down = done / self.warmup, (done - self.warmup) / (1 - self.warmup)
            rising = self.start + (1 - self.start) * (1 - ops.cos(math.pi * up)) / 2
            falling = self.end + (1 - self.end) * (1 + ops.cos(math.pi * down)) / 2
            return self.peak * ops.where(done < self.warmup, rising, falling)

        def get_config(self):
            return {"peak": self.peak, "warmup": self.warmup, "start": self.start, "end": self.end, "steps": self.steps}

    return OneCycleRate
