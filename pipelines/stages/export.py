"""Export: from variants to what each target runs."""
from __future__ import annotations

import collections
import shutil
from pathlib import Path

from export import keras_file, saved_model, tflite_file
from export.artifacts import Exported, ExportedList
from pipelines import workers
from pipelines.compressing.made import MadeList, zipped_size
from pipelines.given_model import trained
from pipelines.ingest import pictures
from pipelines.ingest.pictures import ImageSettings
from pipelines.stages.compress import LISTING as VARIANTS
from pipelines.stages.context import Context

LISTING = "exported.json"
#: TF Serving serves the highest number of a model's version folders; a fresh model begins with the first.
FIRST_VERSION = "1"


def run(context: Context) -> str:
    recipe, made = context.recipe, []
    if "litert" in recipe.export.targets:
        folder = context.work / "litert"
        folder.mkdir(exist_ok=True)
        for variant in MadeList.model_validate_json((context.inputs["compress"] / VARIANTS).read_bytes()).made:
            file = folder / f"{variant.name}.tflite"
            shutil.copyfile(context.inputs["compress"] / file.name, file)
            made.append(Exported(
                variant=variant.name, target="litert", path=f"litert/{file.name}", summary=variant.summary, integer=variant.integer,
                bytes=variant.bytes, zipped=variant.zipped, operators=tflite_file.operators(file.read_bytes())))
    if "saved_model" in recipe.export.targets:
        context.progress(0.5, "saved_model")
        place = f"saved_model/{FIRST_VERSION}"
        shutil.rmtree(context.work / "saved_model", ignore_errors=True)
        workers.isolated(write_saved_model, trained(context.inputs["train"]), context.work / place, context.index().classes,
                         recipe.data.image, what="export saved_model")
        contents = [path.read_bytes() for path in (context.work / place).rglob("*") if path.is_file()]
        made.append(Exported(variant="float32", target="saved_model", path=place, summary="for TF Serving",
                             bytes=sum(map(len, contents)), zipped=sum(map(zipped_size, contents))))
    (context.work / "labels.txt").write_text("".join(f"{name}\n" for name in context.index().classes))
    (context.work / LISTING).write_text(ExportedList(artifacts=made).model_dump_json(indent=1))
    for one in made:
        context.journal.metrics({f"bytes.{one.name}": one.bytes, f"zipped.{one.name}": one.zipped})
        context.journal.parameters({f"operators.{one.name}": " ".join(f"{name}:{count}" for name, count in one.operators.items())})
    counts = collections.Counter(one.target for one in made)
    return " · ".join(f"{target} ×{count}" if count > 1 else target for target, count in counts.items())


def write_saved_model(model: Path, folder: Path, labels: list[str], image: ImageSettings) -> None:
    """Writes the SavedModel, with the decoding that ingest uses inside."""
    saved_model.export(keras_file.load(model), folder, labels=labels, decode=lambda encoded: pictures.decode(encoded, image))
