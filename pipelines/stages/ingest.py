"""Ingest: reads the data once, divides them into splits, and shows what the model will see."""
from __future__ import annotations

import functools
from pathlib import Path

from export.signature import Arrays
from pipelines.errors import UserError
from pipelines.figures import figures
from pipelines.ingest.data import Data
from pipelines.ingest.index import Index
from pipelines.ingest.indexing import build_index, check_batch
from pipelines.stages.context import INDEX, Context

SAMPLES = 25


def run(context: Context) -> str:
    data = context.recipe.data
    context.progress(0, "preparing the data")
    data.source.prepare()
    index = build_index(data, context.recipe.task, context.recipe.seed,
                        progress=lambda seen: context.progress(0.5, f"{seen:,} examples read"))
    _check_unreadable(context, index)
    check_batch(data.batch, index.splits["train"].examples)
    (context.work / INDEX).write_text(index.model_dump_json())
    _record(context, index)
    divided = Data(data, context.recipe.task, index, context.recipe.seed)
    if (looked := data.source.looked_at(divided.features)) is not None:
        context.journal.note(f"{data.source.entry_name}: {looked}")
    for line in context.recipe.task.notes(divided):
        context.journal.note(line)
    _draw_samples(context, divided)
    return index.summary


def _record(context: Context, index: Index) -> None:
    journal = context.journal
    shapes = {name: "x".join(map(str, tensor.shape)) for name, tensor in index.inputs.items() if tensor.shape}
    classes = {f"{'' if len(index.targets) == 1 else f'{name}.'}classes": len(index.names(name))
               for name in index.targets if index.names(name)}
    journal.parameters({"source": index.source, **shapes, "batch": context.recipe.data.batch, **classes})
    journal.metrics({f"examples.{name}": split.examples for name, split in index.splits.items()}
                    | {"unreadable": len(index.unreadable)})
    for target in index.targets:
        if index.names(target):
            journal.write("class_counts", target=target, classes=index.names(target),
                          splits={name: counts[target] for name, counts in index.counts.items() if target in counts})
    for name, split in index.splits.items():
        journal.dataset(f"{index.source}/{name}", index.digest, split.examples, name)


def _check_unreadable(context: Context, index: Index) -> None:
    report = context.work / "unreadable.txt"
    report.write_text("".join(f"{one.name}: {one.reason}\n" for one in index.unreadable))
    for one in index.unreadable:
        context.journal.note(f"unreadable: {one.name} ({one.reason})")
    seen = len(index.unreadable) + sum(split.examples for split in index.splits.values())
    limit = context.recipe.data.max_unreadable
    if len(index.unreadable) > limit * seen:
        first = index.unreadable[0]
        raise UserError(f"data: {len(index.unreadable):,} of {seen:,} examples could not be read (limit {limit:.2%}). "
                        f"The first: {first.name} ({first.reason}). Convert or take them out, or raise "
                        f"data.max_unreadable to go on without them. See {report}")


def _draw_samples(context: Context, data: Data) -> None:
    """Draw two grids of the same training examples: as they are, and as augmentation makes them."""
    few = data.first(SAMPLES)
    draw(data, few.arrays("train", SAMPLES), context.work / "samples.png")
    if data.section.augment:
        changed = next(iter(few.training(0, 1).as_numpy_iterator()))
        draw(data, changed, context.work / "samples_augmented.png")


def draw(data: Data, examples: tuple[Arrays, Arrays], path: Path) -> None:
    """Draw examples in a grid, each with its targets."""
    inputs, targets = examples
    count = len(next(iter(inputs.values())))
    figures.grid([functools.partial(data.task.draw, data=data, inputs=inputs, targets=targets, position=position)
                  for position in range(count)], path)
