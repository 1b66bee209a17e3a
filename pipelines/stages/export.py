"""Export: from variants to what each target runs."""
from __future__ import annotations

import collections
import shutil
from pathlib import Path

from export import keras_file, litert, saved_model
from export.artifacts import Exported, ExportedList
from pipelines import workers
from pipelines.ingest import pictures
from pipelines.ingest.pictures import ImageSettings
from pipelines.stages.context import Context
from pipelines.stages.train import MODEL

LISTING = "exported.json"
#: TF Serving serves the highest number of a model's version folders; a fresh model begins with the first.
FIRST_VERSION = "1"


def run(context: Context) -> str:
    recipe, made = context.recipe, []
    if "litert" in recipe.export.targets:
        folder = context.work / "litert"
        folder.mkdir(exist_ok=True)
        for variant in recipe.compress.variants:
            file = folder / f"{variant}.tflite"
            shutil.copyfile(context.inputs["compress"] / file.name, file)
            made.append(Exported(variant=variant, target="litert", path=f"litert/{file.name}", bytes=file.stat().st_size,
                                 operators=litert.operators(file.read_bytes())))
    if "saved_model" in recipe.export.targets:
        context.progress(0.5, "saved_model")
        place = f"saved_model/{FIRST_VERSION}"
        shutil.rmtree(context.work / "saved_model", ignore_errors=True)
        workers.isolated(write_saved_model, context.inputs["train"] / MODEL, context.work / place, context.index().classes,
                         recipe.data.image, what="export saved_model")
        size = sum(path.stat().st_size for path in (context.work / place).rglob("*") if path.is_file())
        made.append(Exported(variant="float32", target="saved_model", path=place, bytes=size))
    (context.work / "labels.txt").write_text("".join(f"{name}\n" for name in context.index().classes))
    (context.work / LISTING).write_text(ExportedList(artifacts=made).model_dump_json(indent=1))
    for one in made:
        context.journal.metrics({f"bytes.{one.name}": one.bytes})
        context.journal.parameters({f"operators.{one.name}": " ".join(f"{name}:{count}" for name, count in one.operators.items())})
    counts = collections.Counter(one.target for one in made)
    return " · ".join(f"{target} ×{count}" if count > 1 else target for target, count in counts.items())


def write_saved_model(model: Path, folder: Path, labels: list[str], image: ImageSettings) -> None:
    """Writes the SavedModel, with the decoding that ingest uses inside."""
    saved_model.export(keras_file.load(model), folder, labels=labels, decode=lambda encoded: pictures.decode(encoded, image))
