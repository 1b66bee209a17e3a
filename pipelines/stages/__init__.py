"""The stages of a run, in order, one file each."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.recipe.recipe import Recipe


def _nothing(recipe: Recipe) -> dict[str, Any]:
    return {}


def _data(recipe: Recipe) -> dict[str, Any]:
    files = recipe.data.files(recipe.task.data_settings)
    return {"data": recipe.data.source.fingerprint(), **({"files": files} if files else {})}


def _weights(recipe: Recipe) -> dict[str, Any]:
    adapter = recipe.train.adapter.fingerprint() if recipe.train.adapter is not None else ""
    known = {"weights": recipe.model.fingerprint(), "adapter": adapter}
    return {name: fingerprint for name, fingerprint in known.items() if fingerprint}


def _limits(recipe: Recipe) -> dict[str, Any]:
    limits = {variant.title: recipe.limit_of(variant) for variant in recipe.compress.variants}
    return {"limits": {title: limit for title, limit in limits.items() if limit is not None}}


def _tools(recipe: Recipe) -> dict[str, Any]:
    return {"tools": {target.title: [target.versions(), target.missing()] for target in recipe.export.targets}}


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage.

    Args:
        needs: the stages whose artifacts it reads.
        sections: the parts of the recipe that its artifact depends on.
        extra: what else it depends on, by name.
        learns: whether it makes the model, and asks nothing of it: see `Task.later`.
    """

    name: str
    needs: tuple[str, ...]
    sections: tuple[str, ...]
    extra: Callable[[Recipe], dict[str, Any]] = _nothing
    learns: bool = False

    def part_of(self, recipe: Recipe, written: dict[str, Any]) -> dict[str, Any]:
        """Return the part of a recipe, as it is written, that its artifact depends on, by section."""
        part = {section: written[section] for section in self.sections}
        for name in recipe.task.later if self.learns else ():
            part["task"] = _without(part["task"], (str(recipe.task.entry_name), *name.split(".")))
        return part


def _without(written: Any, path: Sequence[str]) -> Any:
    """Return settings without one of them; as they are where it is not written."""
    first, *rest = path
    if not isinstance(written, dict) or first not in written:
        return written
    if not rest:
        return {name: value for name, value in written.items() if name != first}
    return {**written, first: _without(written[first], rest)}


STAGES = (
    Stage("ingest", (), ("seed", "task", "data"), _data, learns=True),
    Stage("train", ("ingest",), ("seed", "task", "data", "model", "train"), _weights, learns=True),
    Stage("evaluate", ("ingest", "train"), ("task", "data")),
    Stage("compress", ("ingest", "train"), ("seed", "task", "data", "train", "compress"), _limits),
    Stage("export", ("ingest", "train", "compress"), ("name", "task", "data", "model", "compress", "export", "package"),
          _tools),
    Stage("verify", ("ingest", "train", "evaluate", "export"), ("task", "data", "verify")),
    Stage("package", ("ingest", "train", "evaluate", "export", "verify"),
          ("name", "task", "data", "model", "train", "export", "package", "gates")),
)
