"""`litepress find-rate`: the learning-rate range test (Smith 2017, https://arxiv.org/abs/1506.01186)."""
from __future__ import annotations

import math
from pathlib import Path

from etils import epy
from pydantic import BaseModel

from pipelines.engine import workers
from pipelines.figures import figures
from pipelines.ingest import stream
from pipelines.ingest.indexing import build_index, check_batch
from pipelines.recipe.recipe import Recipe
from pipelines.training import loop, network
from pipelines.training.schedules import Exponential

with epy.lazy_imports():
    pass

LOWEST, HIGHEST = 1e-6, 10.0
#: The loss is smoothed exponentially with this factor; the test ends when it is so many times its lowest.
SMOOTHING, DIVERGED = 0.95, 4.0


class Found(BaseModel):
    """What the test says.

    Args:
        suggested: a tenth of the rate at which the loss was lowest: still falling, and far from growing.
        lowest: that rate.
        diverged: the rate at which the loss grew out of bounds; None where it never did.
    """

    suggested: float
    lowest: float
    diverged: float | None


def find(written: dict, steps: int, path: Path) -> Found:
    """Trains for some steps, the rate rising by the same factor each time, and draws the loss.

    Args:
        written: the recipe; its own schedule is not used.
        steps: to take from the lowest to the highest rate.
        path: of the picture.

    Raises:
        UserError: there is not even one batch.
    """
    recipe = Recipe.model_validate(written)
    data, source = recipe.data, recipe.data.source
    source.prepare()
    index = build_index(source, data.image, validation=data.validation, test=data.test, seed=recipe.seed)
    train, classes = index.splits["train"], len(index.classes)
    check_batch(data.batch, train.examples)
    stream.set_seed(recipe.seed)
    model = network.build(recipe.model, index.shape, classes)
    network.load_weights(model, recipe.model)
    rising = Exponential.model_construct(peak=LOWEST, end=HIGHEST / LOWEST, warmup=0.0)
    loop.compile_for(model, recipe.train.model_copy(update={"schedule": rising}), steps=steps, class_counts=train.class_counts,
                     auxiliary=recipe.model.auxiliary)
    batches = stream.training_batches(
        stream.examples(source, index, data.image, "train"), classes=classes, batch=data.batch, augmentations=data.augment,
        seed=recipe.seed, first_epoch=0, epochs=-(-steps // (train.examples // data.batch)))
    rates, average = rising.rates(steps), 0.0
    losses: list[float] = []
    for step, (images, targets) in enumerate(batches.take(steps)):
        model.reset_metrics()
        loss = float(model.train_on_batch(images, targets, return_dict=True)["loss"])
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        losses.append(average / (1 - SMOOTHING ** (step + 1)))
        workers.say(done=(step + 1) / steps, text=f"step {step + 1}/{steps}  rate {rates[step]:.2g}  loss {losses[-1]:.3f}")
        if not math.isfinite(loss) or losses[-1] > DIVERGED * min(losses):
            break
    found = suggest(rates.tolist(), losses)
    kept = [value for value in losses if math.isfinite(value)]
    path.parent.mkdir(parents=True, exist_ok=True)
    figures.rate_range(rates[:len(kept)].tolist(), kept, found.suggested, path)
    return found


def suggest(rates: list[float], losses: list[float]) -> Found:
    """What a curve of smoothed losses says; its first tenth, in which the average settles, is left out.

    Args:
        rates: of every step that was planned.
        losses: of those that were taken; the last one may be no number.
    """
    settled = len(rates) // 10
    finite = {place: loss for place, loss in enumerate(losses) if math.isfinite(loss) and place >= min(settled, len(losses) - 2)}
    lowest = rates[min(finite, key=finite.__getitem__)]
    return Found(suggested=lowest / 10, lowest=lowest, diverged=rates[len(losses) - 1] if len(losses) < len(rates) else None)
