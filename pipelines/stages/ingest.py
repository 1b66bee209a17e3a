"""Ingest: takes stock of the data, splits them, and shows what the model will see."""
from __future__ import annotations

from etils import epy

from pipelines.errors import UserError
from pipelines.figures import figures
from pipelines.ingest import stream
from pipelines.ingest.indexing import build_index, check_batch
from pipelines.ingest.sources.source import Index
from pipelines.stages.context import Context

with epy.lazy_imports():
    import numpy as np

SAMPLES = 25


def run(context: Context) -> str:
    data, journal = context.recipe.data, context.journal
    context.progress(0, "preparing the data")
    data.source.prepare()
    index = build_index(data.source, data.image, validation=data.validation, test=data.test, seed=context.recipe.seed,
                       progress=lambda seen: context.progress(0.5, f"{seen:,} pictures looked at"))
    _check_unreadable(context, index)
    check_batch(data.batch, index.splits["train"].examples)
    (context.work / "index.json").write_text(index.model_dump_json())
    journal.parameters({"source": index.source, "image": "x".join(map(str, index.shape)), "batch": data.batch,
                        "classes": len(index.classes)})
    journal.metrics({f"examples.{name}": split.examples for name, split in index.splits.items()}
                    | {"unreadable": len(index.unreadable)})
    journal.write("class_counts", classes=index.classes, splits={name: split.class_counts for name, split in index.splits.items()})
    for name, split in index.splits.items():
        journal.dataset(f"{index.source}/{name}", index.digest, split.examples, name)
    _draw_samples(context, index)
    return index.summary


def _check_unreadable(context: Context, index: Index) -> None:
    report = context.work / "unreadable.txt"
    report.write_text("".join(f"{one.name}: {one.reason}\n" for one in index.unreadable))
    for one in index.unreadable:
        context.journal.note(f"unreadable: {one.name} ({one.reason})")
    seen = len(index.unreadable) + sum(split.examples for split in index.splits.values())
    limit = context.recipe.data.max_unreadable
    if len(index.unreadable) > limit * seen:
        first = index.unreadable[0]
        raise UserError(f"data: {len(index.unreadable):,} of {seen:,} pictures could not be read (limit {limit:.2%}). "
                        f"The first: {first.name} ({first.reason}). See {report}")


def _draw_samples(context: Context, index: Index) -> None:
    """Two grids of the same training pictures: as they are, and as augmentation makes them."""
    recipe = context.recipe
    examples = stream.examples(recipe.data.source, index, recipe.data.image, "train").take(SAMPLES)
    images, labels = stream.arrays(examples)
    titles = [index.classes[label] for label in labels]
    figures.grid(images, titles, context.work / "samples.png")
    if recipe.data.augment:
        batches = stream.training_batches(
            examples, classes=len(index.classes), batch=len(images), augmentations=recipe.data.augment, seed=recipe.seed,
            first_epoch=0, epochs=1)
        changed, targets = next(batches.as_numpy_iterator())
        titles = [index.classes[label] for label in targets.argmax(axis=1)]
        figures.grid(np.clip(np.round(changed), 0, 255).astype("uint8"), titles, context.work / "samples_augmented.png")
