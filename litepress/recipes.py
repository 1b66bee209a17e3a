"""Recipes as Python has them: files, text and mappings, and settings to change as keyword arguments."""
from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import UserError
from pipelines.recipe import file as recipe_file
from pipelines.recipe.recipe import Recipe
from pipelines.stages import STAGES

#: What errors and records call a recipe that is not a file.
UNNAMED = "recipe"
#: Parts of a recipe whose mapping is a choice with its settings, and not a section.
CHOICES = ("task",)


def read(recipe: str | os.PathLike[str] | Mapping[str, Any], overrides: Mapping[str, Any]) -> tuple[Recipe, str]:
    """Return a recipe with some settings changed, and what it is called. Raises UserError as
    `pipelines.recipe.file.read` does.

    Args:
        recipe: a file, YAML text of several lines, or a mapping.
        overrides: see `litepress.run`.
    """
    settings = list(as_options(overrides))
    if isinstance(recipe, Mapping):
        return recipe_file.of_document(plain(recipe), UNNAMED, settings), UNNAMED
    if isinstance(recipe, str) and "\n" in recipe:
        return recipe_file.of_text(recipe, UNNAMED, settings), UNNAMED
    if not isinstance(recipe, (str, os.PathLike)):
        raise UserError(f"the recipe is {recipe!r:.60}; give a file's path, YAML text, or a mapping of settings")
    return recipe_file.read(Path(recipe), settings), str(recipe)


def as_options(overrides: Mapping[str, Any]) -> Iterator[str]:
    """Yield settings as `--set` has them. A section's mapping is one for each setting in it."""
    for name, value in overrides.items():
        if isinstance(value, Mapping) and "." not in name and name not in CHOICES:
            yield from (_option(f"{name}.{inner}", setting) for inner, setting in value.items())
        else:
            yield _option(name, value)


def _option(name: str, value: Any) -> str:
    if name.startswith("gates."):
        return f"{name}={value}"
    try:
        return f"{name}={json.dumps(plain(value), ensure_ascii=False)}"
    except TypeError:
        raise UserError(f"{name} is a {type(value).__name__}; give what a recipe can write: numbers, text, lists and "
                        "mappings") from None


def plain(value: Any) -> Any:
    """Return a value as YAML would have it: paths as text, tuples as lists, NumPy's numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else value


def stage(argument: str, name: str | None) -> str | None:
    """Return the name of a stage. Raises UserError where there is none of that name."""
    names = [one.name for one in STAGES]
    if name is not None and name not in names:
        raise UserError(f"{argument}: there is no stage {name}; give one of {', '.join(names)}")
    return name
