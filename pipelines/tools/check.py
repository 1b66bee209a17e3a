"""`litepress check`: everything a run would do, on a handful of examples."""
from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from etils import epy

import models
from export.conversion import convert
from export.keras_models import file as keras_file
from pipelines.engine import workers
from pipelines.engine.journal import NAME, Journal
from pipelines.errors import StageError, UserError
from pipelines.ingest import stream
from pipelines.ingest.augmentation.augment import augment
from pipelines.ingest.indexing import check_batch, fault
from pipelines.ingest.pictures import decode
from pipelines.ingest.sources.source import Index, Split
from pipelines.recipe.recipe import Recipe
from pipelines.targets.target import Target
from pipelines.training import loop, network
from pipelines.variants.variant import Calibration, Learning, Variant, VariantContext

with epy.lazy_imports():
    import numpy as np

EXAMPLES = 8
EXAMPLES_FILE, MODEL = "examples.npz", "model.keras"


def check(recipe: Recipe) -> Iterator[str]:
    """Yields a line for each thing that is in order. Raises UserError at the first that is not."""
    recipe.data.source.fingerprint()
    with tempfile.TemporaryDirectory(prefix="litepress-check-") as folder:
        examples = Path(folder) / EXAMPLES_FILE
        yield "data     " + workers.call(take_examples, recipe.written(), examples, what="check: data")
        yield "model    " + workers.call(train_one_step, recipe.written(), examples, Path(folder), what="check: model")
        sizes = []
        for variant in recipe.compress.variants:
            try:
                size = workers.call(write_variant, recipe.written(), variant.written(), Path(folder), what=f"check: {variant.title}")
            except StageError as error:
                raise UserError(f"compress.variants: {variant.title} cannot be made of {recipe.model.builder}: {error}") from error
            sizes.append(f"{variant.title} {size / 1000:,.0f} kB")
        yield "export   " + " · ".join(sizes)
        for target in recipe.export.targets:
            yield from workers.call(preflight, recipe.written(), target.written(), Path(folder), what=f"check: {target.title}")


def take_examples(written: dict, path: Path, most: int = EXAMPLES) -> str:
    """Saves decoded training examples, at most so many; a line about them."""
    recipe = Recipe.model_validate(written)
    source, image = recipe.data.source, recipe.data.image
    if not source.ready():
        count, classes = most, source.classes()
        np.savez(path, images=np.random.default_rng(0).integers(0, 256, (count, *image.shape)).astype("uint8"),
                 labels=np.arange(count) % len(classes), classes=len(classes))
        return f"{len(classes)} classes; not downloaded yet, so the rest is tried on random pictures"
    source.prepare()
    classes = source.classes()
    there = source.size("train")
    if there is not None:
        check_batch(recipe.data.batch, there)
    images: list[np.ndarray] = []
    labels: list[int] = []
    for encoded, label, _ in source.raw("train").take(4 * most).as_numpy_iterator():
        if len(images) < most and fault(encoded, image) is None:
            images.append(decode(encoded, image).numpy())
            labels.append(label)
    if not images:
        raise UserError(f"data: none of the first {4 * most} pictures could be read")
    np.savez(path, images=np.stack(images), labels=np.array(labels), classes=len(classes))
    return f"{len(classes)} classes, pictures {' x '.join(map(str, image.shape))}"


def train_one_step(written: dict, path: Path, folder: Path) -> str:
    """Builds the model, trains it for one step, writes it and its graph; a line about it."""
    recipe, data = Recipe.model_validate(written), np.load(path)
    stream.set_seed(recipe.seed)
    model = network.build(recipe.model, recipe.data.image.shape, int(data["classes"]))
    pretrained = network.load_weights(model, recipe.model)
    images, targets = augment(recipe.data.augment, data["images"], np.eye(int(data["classes"]))[data["labels"]], np.array([0, 0]))
    if recipe.train.transfer is not None:
        recipe.train.transfer.freeze(model, pretrained, 1.0)
    loop.compile_for(model, recipe.train, steps=100, class_counts=[1] * int(data["classes"]),
                     auxiliary=recipe.model.auxiliary)
    loss = float(model.train_on_batch(images, targets)[0])
    if not np.isfinite(loss):
        raise UserError(f"train: the loss of the first step is {loss}")
    shipped = models.main_output(model)
    keras_file.save(shipped, folder / MODEL)
    convert.float_graph(shipped, folder / "graph")
    started = f", {len(pretrained)} layers pretrained" if pretrained else ""
    return f"{recipe.model.builder}, {model.count_params():,} weights{started}; one training step, loss {loss:.3f}"


class DryContext(VariantContext):
    """A workshop of a few examples, in which nothing is trained."""

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        with np.load(self.folder / EXAMPLES_FILE) as file:
            return file["images"], file["labels"]

    def pictures(self, wanted: Calibration | None = None) -> np.ndarray:
        return self._arrays()[0]

    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        return self._arrays()

    def fit(self, model: Any, learning: Learning, part: str, others: Sequence[Any] = ()) -> None:
        """The model answers; that is all."""
        model(self._arrays()[0].astype("float32"), training=False)

    @property
    def steps(self) -> int:
        return 10


def write_variant(written: dict, variant: dict, folder: Path) -> int:
    """Makes a variant of the model that has learnt next to nothing; its bytes."""
    recipe, labels = Recipe.model_validate(written), np.load(folder / EXAMPLES_FILE)["classes"]
    names = [str(number) for number in range(int(labels))]
    index = Index(source="", classes=names, shape=recipe.data.image.shape, unreadable=[], digest="", splits={
        "train": Split(part="train", positions=None, class_counts=[1] * len(names))})
    shop = DryContext(recipe.data, recipe.train, recipe.seed, index, folder / MODEL, folder / "graph", folder,
                       recipe.compress.calibration, Journal(folder / NAME))
    made: Variant = Variant.read(variant)  # type: ignore[assignment]
    return (folder / f"{made.title}.tflite").write_bytes(made.content(shop))


def preflight(written: dict, target: dict, folder: Path) -> list[str]:
    """What a target will say of the model. Raises UserError where it refuses the architecture, or its tool is missing."""
    recipe, wanted = Recipe.model_validate(written), Target.read(target)
    assert isinstance(wanted, Target)
    if absent := wanted.missing():
        return [f"{wanted.title:<8} will be left out: {absent}"]
    try:
        told = wanted.preflight({name: folder / f"{name}.tflite" for name in wanted.chosen(recipe.compress.variants)
                               if (folder / f"{name}.tflite").exists()})
    except ValueError as error:
        raise UserError(f"export.targets: {wanted.title} will not take {recipe.model.builder}: {error}") from error
    return [f"{wanted.title if not number else '':<8} {line}" for number, line in enumerate(told)]
