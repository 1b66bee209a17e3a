"""`litepress benchmark-input`: how fast the examples come, and how fast the training step takes them."""
from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from etils import epy
from pydantic import BaseModel

from pipelines.ingest import stream
from pipelines.ingest.indexing import build_index, check_batch
from pipelines.recipe.recipe import Recipe
from pipelines.training import loop, network

with epy.lazy_imports():
    pass


class Speed(BaseModel):
    """Examples per second: of the input pipeline alone, of the training step alone on one batch, and of both together."""

    input: float
    step: float
    together: float

    def lines(self) -> list[str]:
        """The figures, and which of the two holds the other up."""
        slower, faster = ("input pipeline", "training step") if self.input < self.step else ("training step", "input pipeline")
        return [f"input pipeline  {self.input:>10,.0f} examples/s", f"training step   {self.step:>10,.0f} examples/s",
                f"together        {self.together:>10,.0f} examples/s",
                f"The {slower} is the bottleneck: the {faster} alone is {max(self.input, self.step) / min(self.input, self.step):.1f} "
                "times as fast."]


def measure(written: dict, seconds: float) -> Speed:
    """Measures each for about `seconds`, after a warm-up. Raises UserError where there is not even one batch."""
    recipe = Recipe.model_validate(written)
    data, source = recipe.data, recipe.data.source
    source.prepare()
    index = build_index(source, data.image, validation=data.validation, test=data.test, seed=recipe.seed)
    count, classes = index.splits["train"].examples, len(index.classes)
    check_batch(data.batch, count)
    stream.set_seed(recipe.seed)
    model = network.build(recipe.model, index.shape, classes)
    loop.compile_for(model, recipe.train, steps=1000, class_counts=index.splits["train"].class_counts,
                     auxiliary=recipe.model.auxiliary)
    examples = stream.examples(source, index, data.image, "train")
    batches = iter(stream.training_batches(examples, classes=classes, batch=data.batch, augmentations=data.augment, seed=recipe.seed,
                                           first_epoch=0, epochs=1_000_000))
    for _ in range(count // data.batch):  # the first epoch fills the cache
        images, targets = next(batches)
    model.train_on_batch(images, targets)
    return Speed(input=_rate(lambda: next(batches), data.batch, seconds),
                 step=_rate(lambda: model.train_on_batch(images, targets), data.batch, seconds),
                 together=_rate(lambda: model.train_on_batch(*next(batches)), data.batch, seconds))


def _rate(action: Callable[[], object], examples: int, seconds: float) -> float:
    action()
    started = time.perf_counter()
    for done in itertools.count(1):
        action()
        passed = time.perf_counter() - started
        if passed >= seconds:
            return done * examples / passed
    raise AssertionError
