"""`litepress benchmark-input`: how fast the examples come, and how fast the training step takes them."""
from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipelines.recipe.recipe import Recipe
from pipelines.tools.short_training import data_of, prepare

#: Epochs that the examples are taken from: as good as without an end.
EPOCHS = 1_000_000


class Speed(BaseModel):
    """Examples per second of the input pipeline alone, of the training step alone, and of both together."""

    input: float
    step: float
    together: float

    def lines(self) -> list[str]:
        """Return the figures, and which of the two is the bottleneck."""
        names = ["input pipeline", "training step"]
        slower, faster = names if self.input < self.step else reversed(names)
        ratio = max(self.input, self.step) / min(self.input, self.step)
        return [f"input pipeline  {self.input:>10,.0f} examples/s",
                f"training step   {self.step:>10,.0f} examples/s",
                f"together        {self.together:>10,.0f} examples/s",
                f"The {slower} is the bottleneck: the {faster} alone is {ratio:.1f} times as fast."]


def measure(written: dict[str, Any], seconds: float) -> Speed:
    """Measure each for about `seconds`, after a warm-up. Raises UserError where there is not even one batch.

    Args:
        written: the recipe.
    """
    recipe = Recipe.model_validate(written)
    data, batch = data_of(recipe), recipe.data.batch
    with tempfile.TemporaryDirectory(prefix="litepress-benchmark-") as folder:
        learner = prepare(recipe, data, data.steps, Path(folder)).learner
        batches = iter(data.training(0, EPOCHS))
        for _ in range(data.steps):  # the first epoch fills the cache
            inputs, targets = next(batches)
        learner.train_on_batch(inputs, targets)
        return Speed(input=_rate(lambda: next(batches), batch, seconds),
                     step=_rate(lambda: learner.train_on_batch(inputs, targets), batch, seconds),
                     together=_rate(lambda: learner.train_on_batch(*next(batches)), batch, seconds))


def _rate(action: Callable[[], object], examples: int, seconds: float) -> float:
    """Return the examples per second of an action that takes some, repeated for about `seconds`."""
    action()
    started = time.perf_counter()
    for done in itertools.count(1):
        action()
        passed = time.perf_counter() - started
        if passed >= seconds:
            return done * examples / passed
    raise AssertionError
