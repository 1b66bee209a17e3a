"""`litepress find-rate`: the learning-rate range test (Smith 2017, https://arxiv.org/abs/1506.01186)."""
from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipelines.engine import workers
from pipelines.figures import figures
from pipelines.recipe.recipe import Recipe
from pipelines.tools.short_training import data_of, prepare
from pipelines.training.schedules import Exponential

LOWEST, HIGHEST = 1e-6, 10.0
#: The loss is smoothed exponentially with this factor; the test ends when it is so many times its lowest.
SMOOTHING, DIVERGED = 0.95, 4.0


class Suggestion(BaseModel):
    """What the test says.

    Args:
        suggested: a tenth of the rate at which the loss was lowest: still falling, and far from growing.
        lowest: that rate.
        diverged: the rate at which the loss grew out of bounds; None where it never did.
    """

    suggested: float
    lowest: float
    diverged: float | None


def find(written: dict[str, Any], steps: int, path: Path) -> Suggestion:
    """Train for some steps, the rate rising by the same factor each time, and draw the loss.

    Args:
        written: the recipe; its own schedule is not used.
        steps: to take from the lowest to the highest rate.
        path: of the figure.

    Raises:
        UserError: there is not even one batch.
    """
    recipe = Recipe.model_validate(written)
    data = data_of(recipe)
    rising = Exponential.model_construct(peak=LOWEST, end=HIGHEST / LOWEST, warmup=0.0)
    rates = rising.rates(steps).tolist()
    train = recipe.train.model_copy(update={"schedule": rising, "epochs": 1, "transfer": None})
    with tempfile.TemporaryDirectory(prefix="litepress-rate-") as folder:
        learner = prepare(recipe.model_copy(update={"train": train}), data, steps, Path(folder)).learner
        batches = data.training(0, math.ceil(steps / data.steps)).take(steps)
        losses = _smoothed_losses(learner, batches, rates)
    result = suggest(rates, losses)
    finite = [loss for loss in losses if math.isfinite(loss)]
    path.parent.mkdir(parents=True, exist_ok=True)
    figures.rate_range(rates[:len(finite)], finite, result.suggested, path)
    return result


def _smoothed_losses(learner: Any, batches: Any, rates: list[float]) -> list[float]:
    """Return the loss of each step, smoothed, until it has diverged."""
    average = 0.0
    losses: list[float] = []
    for step, (inputs, targets) in enumerate(batches):
        learner.reset_metrics()
        loss = float(learner.train_on_batch(inputs, targets, return_dict=True)["loss"])
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        losses.append(average / (1 - SMOOTHING ** (step + 1)))
        workers.report(done=(step + 1) / len(rates),
                    text=f"step {step + 1}/{len(rates)}  rate {rates[step]:.2g}  loss {losses[-1]:.3f}")
        if not math.isfinite(loss) or losses[-1] > DIVERGED * min(losses):
            break
    return losses


def suggest(rates: list[float], losses: list[float]) -> Suggestion:
    """Return what a curve of smoothed losses says; its first tenth, in which the average settles, is left out.

    Args:
        rates: of every step that was planned.
        losses: of those that were taken; the last one may not be a number.
    """
    first = min(len(rates) // 10, len(losses) - 2)
    finite = {step: loss for step, loss in enumerate(losses) if math.isfinite(loss) and step >= first}
    lowest = rates[min(finite, key=finite.__getitem__)]
    diverged = rates[len(losses) - 1] if len(losses) < len(rates) else None
    return Suggestion(suggested=lowest / 10, lowest=lowest, diverged=diverged)
