"""`litepress list` and the table of `litepress models`: what there is to choose from."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import models
import pipelines.targets  # noqa: F401  makes the targets known
from models.census import census
from pipelines.entries import Entry
from pipelines.features import Feature
from pipelines.ingest import Source
from pipelines.recipe import plugins
from pipelines.targets.target import Target
from pipelines.tasks import Task
from pipelines.variants.variant import Variant

KINDS: dict[str, type[Entry]] = {"tasks": Task, "features": Feature, "sources": Source}
#: Dimensions of what a model gives, not of what it takes.
NOT_SIZES = ("classes", "target")
HEADER = (f"{'family':<18}  {'model':<18}  {'input':>13}  {'parameters':>15}  {'multiply-adds':>15}  {'float32':>12}  "
          f"{'int8':>12}  paper")


def rows(kind: str) -> list[tuple[str, str]]:
    """Return the name and a line of explanation of each choice of a kind.

    Args:
        kind: recipes, models, tasks, features, sources, variants or targets.
    """
    plugins.load()
    if kind == "recipes":
        return [(str(path), _first_comment(path)) for path in sorted(Path("recipes").rglob("*.yaml"))]
    if kind == "models":
        return [(builder.name, f"{builder.summary} {builder.paper}") for builder in models.builders()]
    if kind == "variants":
        untrained_first = sorted(Variant.choices, key=lambda name: Variant.choices[name].learns)  # type: ignore
        return [(name, _summary(Variant.choices[name])) for name in untrained_first]
    if kind == "targets":
        return [(name, f"{state:<6} {summary}") for name, state, summary in targets()]
    return [(name, _summary(choice)) for name, choice in sorted(KINDS[kind].choices.items())]


def targets() -> list[tuple[str, str, str]]:
    """Return every target's name, whether it is ready here, and what it is or what is missing for it."""
    result = []
    for name, target in Target.choices.items():
        absent = target.ready()  # type: ignore[attr-defined]
        result.append((name, "no" if absent else "ready", f"{_summary(target)}{f' ({absent})' if absent else ''}"))
    return result


def model_table() -> list[str]:
    """Return the table of all models, a line each. Plugins' models are among them."""
    plugins.load()
    return [HEADER, *_model_rows()]


def _model_rows() -> Iterator[str]:
    for one in census():
        builder = one.builder
        sizes = f"{one.parameters * 4 / 1e6:>9,.1f} MB  {one.parameters / 1e6:>9,.1f} MB"
        yield (f"{builder.family:<18}  {builder.name:<18}  {_size(builder.at):>13}  {one.parameters:>15,}  "
               f"{one.multiply_adds / 1e6:>13,.1f} M  {sizes}  {builder.paper}")


def _size(dimensions: Mapping[str, Any]) -> str:
    """Return the size of a model's input: its shape, the tokens that are read and those that are written,
    or the dimensions that it is built from."""
    if "target_length" in dimensions:
        return f"{dimensions['length']} + {dimensions['target_length']}"
    shape = dimensions.get("input_shape", [size for name, size in dimensions.items() if name not in NOT_SIZES])
    return " x ".join(map(str, shape))


def _first_comment(path: Path) -> str:
    comments = (line for line in path.read_text().splitlines() if line.startswith("#") and "$schema" not in line)
    return next(comments, "").lstrip("# ")


def _summary(choice: type) -> str:
    return (choice.__doc__ or "").strip().split("\n")[0]
