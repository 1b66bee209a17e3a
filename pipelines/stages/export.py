"""Export: from variants to what each target runs, each target in a process of its own."""
from __future__ import annotations

import collections
import shutil
from typing import Any

import models
from export.artifacts import Exported, ExportedList
from export.tflite import metadata
from pipelines.engine import workers
from pipelines.errors import StageError, UserError
from pipelines.recipe.recipe import Recipe
from pipelines.stages.compress import LISTING as VARIANTS
from pipelines.stages.context import Context
from pipelines.targets.target import ExportContext, Target
from pipelines.training.imported_model import trained
from pipelines.variants.record import VariantList

LISTING = "exported.json"


def run(context: Context) -> str:
    recipe, found = context.recipe, ExportedList(artifacts=[])
    variants = {one.name: one for one in VariantList.model_validate_json((context.inputs["compress"] / VARIANTS).read_bytes()).made}
    dock = ExportContext(trained(context.inputs["train"]), variants, context.inputs["compress"], description(recipe, context.index().classes),
                recipe.data, context.index(), context.work)
    for number, target in enumerate(recipe.export.targets):
        context.progress(number / len(recipe.export.targets), target.title)
        try:
            if absent := target.missing():
                raise UserError(absent)
            found.artifacts.extend(workers.isolated(
                make, target.written(), dock, target.chosen(recipe.compress.variants), what=f"export {target.title}"))
            continue
        except UserError as error:
            found.left_out[target.title] = f"export {target.title}: {error}"
        except StageError as error:
            found.failed[target.title] = str(error).removesuffix(f". See {context.work / 'log.txt'}")  # which moves with the artifact
        shutil.rmtree(context.work / target.title, ignore_errors=True)
        context.journal.note((found.left_out | found.failed)[target.title])
    if not found.artifacts:
        raise (StageError if found.failed else UserError)("\n".join((found.failed | found.left_out).values()))
    (context.work / "labels.txt").write_text("".join(f"{name}\n" for name in context.index().classes))
    (context.work / LISTING).write_text(found.model_dump_json(indent=1))
    for one in found.artifacts:
        _record(context, one)
    counts = collections.Counter(one.target for one in found.artifacts)
    told = " · ".join(f"{target} ×{count}" if count > 1 else target for target, count in counts.items())
    return told + "".join(f" · {word}: {', '.join(titles)}" for word, titles in (
        ("LEFT OUT", found.left_out), ("FAILED", found.failed)) if titles)


def description(recipe: Recipe, labels: list[str]) -> metadata.Description:
    """What the model says of itself."""
    what = "" if recipe.model.given else models.builder(recipe.model.builder).summary
    return metadata.Description(name=recipe.name, labels=labels, version=recipe.package.version, author=recipe.package.author,
                                license=recipe.package.license, description=recipe.package.description or what)


def make(written: dict[str, Any], dock: ExportContext, chosen: list[str]) -> list[Exported]:
    """Makes a target's files. Raises UserError where it refuses the model."""
    target: Target = Target.read(written)  # type: ignore[assignment]
    try:
        return target.export(dock, chosen)
    except ValueError as error:
        raise UserError(str(error)) from error


def _record(context: Context, one: Exported) -> None:
    context.journal.metrics({f"bytes.{one.name}": one.bytes, f"zipped.{one.name}": one.zipped,
                             **{f"{name}.{one.name}": value for name, value in one.estimates.items()},
                             **({f"coverage.{one.name}": one.coverage.share} if one.coverage else {})})
    if one.operators:
        context.journal.parameters({f"operators.{one.name}": " ".join(f"{name}:{count}" for name, count in one.operators.items())})
