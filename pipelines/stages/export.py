"""Export: from variants to what each target runs, each target in a process of its own."""
from __future__ import annotations

import collections
import shutil
from typing import Any

import models
from export.artifacts import EXPORTED, Exported, ExportedList
from export.tflite.metadata import Description
from pipelines.engine import workers
from pipelines.errors import StageError, UserError
from pipelines.features import audio
from pipelines.ingest.index import Index
from pipelines.recipe.recipe import Recipe
from pipelines.stages.context import Context, without_log
from pipelines.targets.target import ExportContext, Target
from pipelines.variants.record import VariantList
from pipelines.variants.variant import RANGES


def run(context: Context) -> str:
    recipe, index = context.recipe, context.index()
    about = description(recipe, index)
    variants = VariantList.read(context.inputs["compress"]).variants
    target_context = ExportContext(
        model=context.model(), variants={record.name: record for record in variants},
        files=context.inputs["compress"], about=about, data=context.data(), folder=context.work)
    result = ExportedList(artifacts=[])
    for number, target in enumerate(recipe.export.targets):
        context.progress(number / len(recipe.export.targets), target.title)
        try:
            result.artifacts.extend(_exported(target, target_context, target.chosen(recipe.compress.variants)))
            continue
        except UserError as error:
            message = result.left_out[target.title] = f"export {target.title}: {error}"
        except StageError as error:
            message = result.failed[target.title] = without_log(str(error), context.work)
        shutil.rmtree(context.work / target.title, ignore_errors=True)
        context.journal.note(message)
    for artifact in result.artifacts:
        variant = target_context.variants.get(artifact.variant)
        asked = variant.details.get("streaming") if variant is not None else None
        artifact.ranges = variant.details.get(RANGES, {}) if variant is not None and asked is None else {}
        artifact.seconds = recipe.task.seconds(index) if asked is None else asked["seconds"]
    if not result.artifacts:
        raise (StageError if result.failed else UserError)("\n".join((result.failed | result.left_out).values()))
    if about.labels:
        (context.work / "labels.txt").write_text("".join(f"{name}\n" for name in about.labels))
    (context.work / EXPORTED).write_text(result.model_dump_json(indent=1))
    for artifact in result.artifacts:
        _journal(context, artifact)
    return _summary(result)


def _summary(result: ExportedList) -> str:
    counts = collections.Counter(artifact.target for artifact in result.artifacts)
    line = " · ".join(f"{target} ×{count}" if count > 1 else target for target, count in counts.items())
    for word, titles in (("LEFT OUT", result.left_out), ("FAILED", result.failed)):
        if titles:
            line += f" · {word}: {', '.join(titles)}"
    return line


def description(recipe: Recipe, index: Index) -> Description:
    """Return what the model says of itself."""
    summary = "" if recipe.model.imported is not None else models.builder(recipe.model.builder).summary
    package = recipe.package
    behind = recipe.task.post_processing(index)
    return Description(
        name=recipe.name, description=package.description or summary, version=package.version, author=package.author,
        license=package.license, task=str(recipe.task.entry_name), labels=recipe.task.labels(index),
        signature=recipe.task.signature(index), decoding=None if behind is None else behind.driver,
        places=dict(recipe.task.places), rate=audio.rate_of(index.learnt))


def _exported(target: Target, context: ExportContext, chosen: list[str]) -> list[Exported]:
    """Return what a target makes. Raises UserError where it refuses the model or its tool is missing, StageError where
    that crashes."""
    if absent := target.missing():
        raise UserError(absent)
    return workers.isolated(make, target.written(), context, chosen, what=f"export {target.title}")


def make(written: dict[str, Any], context: ExportContext, chosen: list[str]) -> list[Exported]:
    """Make a target's files. Raises UserError where it refuses the model."""
    target: Target = Target.read(written)  # type: ignore[assignment]
    try:
        return target.export(context, chosen)
    except ValueError as error:
        raise UserError(str(error)) from error


def _journal(context: Context, artifact: Exported) -> None:
    numbers = {"bytes": artifact.bytes, "zipped": artifact.zipped, **artifact.estimates}
    if artifact.coverage is not None:
        numbers["coverage"] = artifact.coverage.share
    context.journal.metrics({f"{name}.{artifact.name}": value for name, value in numbers.items()})
    if artifact.operators:
        operators = " ".join(f"{name}:{count}" for name, count in artifact.operators.items())
        context.journal.parameters({f"operators.{artifact.name}": operators})
