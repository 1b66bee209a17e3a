"""`litepress check`: everything a run would do, on a handful of examples."""
from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

import models
from export.conversion import convert
from export.keras_models import file as keras_file
from export.keras_models import graph
from export.signature import Signature
from pipelines.engine import workers
from pipelines.engine.journal import NAME, Journal
from pipelines.errors import StageError, UserError
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import Reader, check_batch
from pipelines.recipe.recipe import Recipe
from pipelines.stages.ingest import draw
from pipelines.targets.target import Target
from pipelines.tools.few_examples import few_examples
from pipelines.tools.short_training import merged, prepare
from pipelines.variants.variant import Learning, Variant, VariantContext

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    import keras

EXAMPLES = 8
#: Examples that are drawn with their boxes or masks, and the file, in the folder of the recipe's runs.
DRAWN, SAMPLES = 16, "check.png"
#: What the checks leave for each other in their folder.
MODEL, GRAPH = "model.keras", "graph"
#: Training steps of an epoch, for schedules that count them.
STEPS = 10


def check(recipe: Recipe, runs: Path) -> Iterator[str]:
    """Yield a line for each thing that is in order. Raises UserError at the first that is not.

    Args:
        runs: the folder of all runs; examples with boxes or masks are drawn there.
    """
    recipe.data.source.fingerprint()
    written = recipe.written()
    with tempfile.TemporaryDirectory(prefix="litepress-check-") as name:
        folder = Path(name)
        data, line = workers.call(take_examples, written, what="check: data")
        yield f"data     {line}"
        if faults := workers.call(count_faults, written, what="check: data"):
            yield f"         {faults}"
        if any(tensor.role in ("boxes", "mask") for tensor in data.index.targets.values()):
            path = runs / recipe.name / SAMPLES
            workers.call(draw_samples, written, path, what="check: samples")
            yield f"samples  {path}"
        yield "model    " + workers.call(train_one_step, written, data, folder, what="check: model")
        sizes = []
        for variant in recipe.compress.variants:
            try:
                what = f"check: {variant.title}"
                size = workers.call(write_variant, written, variant.written(), data, folder, what=what)
            except StageError as error:
                raise UserError(f"compress.variants: {variant.title} cannot be made of {recipe.model.builder}: "
                                f"{error}") from error
            sizes.append(f"{variant.title} {size / 1000:,.0f} kB")
        yield "export   " + " · ".join(sizes)
        for target in recipe.export.targets:
            yield from workers.call(preflight, written, target.written(), folder, what=f"check: {target.title}")


def take_examples(written: dict[str, Any]) -> tuple[Data, str]:
    """Return a few examples of a recipe's data, and a line about them. Raises UserError."""
    recipe = Recipe.model_validate(written)
    source = recipe.data.source
    here = source.ready()
    data = few_examples(recipe, EXAMPLES)
    if here and (size := source.size("train")) is not None:
        check_batch(recipe.data.batch, size)
    index = data.index
    shapes = ", ".join(f"{name} {' x '.join('?' if size is None else str(size) for size in tensor.shape)}".rstrip()
                       for name, tensor in index.inputs.items())
    classes = next((len(index.names(name)) for name in index.targets if index.names(name)), 0)
    line = f"{classes} classes, {shapes}" if classes else shapes
    return data, line if here else f"{line}; not downloaded yet, so the rest is tried on random examples"


def count_faults(written: dict[str, Any]) -> str:
    """Return what annotations come to where they can be looked at without reading images; else an empty text. Raises
    UserError where more examples have faults than may."""
    recipe = Recipe.model_validate(written)
    source, limit = recipe.data.source, recipe.data.max_unreadable
    if not source.ready() or (looked := source.looked_at(Reader(recipe.data, recipe.task).features)) is None:
        return ""
    if looked.faulty > limit * looked.examples:
        raise UserError(f"data: {looked}; {looked.faulty:,} of {looked.examples:,} examples have faults (limit "
                        f"{limit:.2%}). The first: {looked.first}. Mend them, or raise data.max_unreadable to go on "
                        "without these examples")
    return str(looked)


def draw_samples(written: dict[str, Any], path: Path) -> None:
    """Draw a few examples with their boxes or masks."""
    data = few_examples(Recipe.model_validate(written), DRAWN, spread=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(data, data.arrays("train", min(DRAWN, data.index.splits["train"].examples)), path)


def train_one_step(written: dict[str, Any], data: Data, folder: Path) -> str:
    """Build the model, train it for one step, write it and its graph; return a line about it. Raises UserError."""
    recipe = Recipe.model_validate(written)
    prepared = prepare(recipe, data, STEPS, folder)
    inputs, targets = next(iter(data.training(0, 1)))
    loss = float(prepared.learner.train_on_batch(inputs, targets, return_dict=True)["loss"])
    if not np.isfinite(loss):
        raise UserError(f"train: the loss of the first step is {loss}")
    outputs = [tensor.name for tensor in data.task.outputs(data.index)]
    shipped = models.cut(merged(recipe, data, prepared.model), outputs)
    keras_file.save(shipped, folder / MODEL)
    convert.float_graph(shipped, lambda model: data.task.functions(model, data, "device"), folder / GRAPH)
    if any(target.entry_name == "saved_model" for target in recipe.export.targets):
        trace_server(shipped, data)
    started = f", {len(prepared.pretrained)} layers pretrained" if prepared.pretrained else ""
    weights = prepared.model.count_params()
    return f"{recipe.model.builder}, {weights:,} weights{started}; one training step, loss {loss:.3f}"


def trace_server(model: keras.Model, data: Data) -> None:
    """Trace what a server would be asked, for batches of any size. Raises what TensorFlow raises where it cannot."""
    for function in data.task.functions(model, data, "server"):
        tf.function(function.call).get_concrete_function(**{one.name: one for one in function.specs(None)})


class DryContext(VariantContext):
    """A variant's context in which nothing is trained: the model is called once, and that is all."""

    def fit(self, model: Any, learning: Learning, part: str, callbacks: Sequence[Any] = ()) -> None:
        inputs, _ = self.data.arrays("train", EXAMPLES)
        index = self.data.index
        taken = Signature(inputs=tuple(index.inputs.values()), outputs=self.data.task.outputs(index))
        graph.function(model, taken).call(**inputs)

    @property
    def steps(self) -> int:
        return STEPS


def write_variant(written: dict[str, Any], variant: dict[str, Any], data: Data, folder: Path) -> int:
    """Make a variant of the model that was trained for one step; return its bytes."""
    recipe = Recipe.model_validate(written)
    chosen: Variant = Variant.read(variant)  # type: ignore[assignment]
    limit = recipe.limit_of(chosen)
    context = DryContext(
        data=data, train=recipe.train, model=folder / MODEL, graph=folder / GRAPH, folder=folder,
        calibration_section=recipe.compress.calibration, journal=Journal(folder / NAME),
        limits={} if limit is None else {chosen.title: limit}, recurrent=True)
    return (folder / f"{chosen.title}.tflite").write_bytes(chosen.finished(context))


def preflight(written: dict[str, Any], target: dict[str, Any], folder: Path) -> list[str]:
    """Return what a target will say of the model. Raises UserError where it refuses the architecture."""
    recipe = Recipe.model_validate(written)
    chosen: Target = Target.read(target)  # type: ignore[assignment]
    if absent := chosen.missing():
        return [f"{chosen.title:<8} will be left out: {absent}"]
    files = {name: folder / f"{name}.tflite" for name in chosen.chosen(recipe.compress.variants)}
    try:
        lines = chosen.preflight({name: path for name, path in files.items() if path.exists()})
    except ValueError as error:
        raise UserError(f"export.targets: {chosen.title} will not take {recipe.model.builder}: {error}") from error
    return [f"{chosen.title if not number else '':<8} {line}" for number, line in enumerate(lines)]
