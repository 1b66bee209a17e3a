"""Compress: makes the variants of the trained model, each in a process of its own."""
from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from etils import epy

from export import keras_file, litert
from export.variants import VARIANTS
from pipelines import workers
from pipelines.errors import StageError
from pipelines.ingest import stream
from pipelines.ingest.source import Index, select
from pipelines.recipe import Recipe
from pipelines.stages.context import Context
from pipelines.stages.train import MODEL

with epy.lazy_imports():
    import numpy as np


def run(context: Context) -> str:
    recipe, model = context.recipe, context.inputs["train"] / MODEL
    graph, calibration = context.work / "graph", context.work / "calibration.npy"
    shutil.rmtree(graph, ignore_errors=True)
    context.progress(0, "tracing the graph")
    layers = workers.isolated(trace, model, graph, what="compress: tracing the model")
    if any(VARIANTS[name].calibrated for name in recipe.compress.variants):
        digest = workers.isolated(draw_calibration, recipe.written(), context.index(), calibration, what="compress: calibration set")
        context.journal.dataset(f"{context.index().source}/calibration", digest, recipe.compress.calibration, "calibration")
        context.journal.parameters({"calibration": recipe.compress.calibration, "calibration_digest": digest})
    sizes = {}
    for number, name in enumerate(recipe.compress.variants):
        context.progress((number + 1) / (len(recipe.compress.variants) + 1), name)
        target = context.work / f"{name}.tflite"
        try:
            workers.isolated(convert, graph, name, calibration, target, what=f"compress {name}: the converter")
        except StageError as error:
            raise StageError(f"{error} (layer types: {', '.join(layers)})") from None
        sizes[name] = target.stat().st_size
        context.journal.metrics({f"bytes.{name}": sizes[name]})
    shutil.rmtree(graph)
    (context.work / "compress.json").write_text(json.dumps({"bytes": sizes}, indent=1))
    return " · ".join(f"{name} {size / 1000:,.0f} kB" for name, size in sizes.items())


def trace(model: Path, graph: Path) -> list[str]:
    """Writes the graph that the variants are converted from; the model's layer types."""
    loaded = keras_file.load(model)
    litert.float_graph(loaded, graph)
    return sorted({type(layer).__name__ for layer in loaded.layers})


def draw_calibration(written: dict, index: Index, path: Path) -> str:
    """Draws pictures out of the training split, by the recipe's seed; their digest."""
    recipe = Recipe.model_validate(written)
    count = index.splits["train"].examples
    generator = np.random.default_rng(recipe.seed)
    chosen = np.sort(generator.choice(count, min(count, recipe.compress.calibration), replace=False)).tolist()
    images, _ = stream.arrays(select(stream.examples(recipe.data.source, index, recipe.data.image, "train"), chosen))
    np.save(path, images)
    return hashlib.sha256(images.tobytes()).hexdigest()


def convert(graph: Path, variant: str, calibration: Path, target: Path) -> None:
    """Converts one variant and writes its file."""
    images = np.load(calibration) if VARIANTS[variant].calibrated else None
    target.write_bytes(litert.convert(graph, variant, images))
