"""What there is to choose from."""
from __future__ import annotations

from pathlib import Path

import models
from export.variants import VARIANTS
from pipelines.ingest import Source
from pipelines.recipe import TARGETS


def rows(kind: str) -> list[tuple[str, str]]:
    """Name and one line of explanation for each of `kind`: recipes, models, sources, variants, targets."""
    if kind == "recipes":
        return [(str(path), _first_comment(path)) for path in sorted(Path("recipes").rglob("*.yaml"))]
    if kind == "models":
        return [(builder.name, f"{builder.summary} {builder.paper}") for builder in models.builders()]
    if kind == "sources":
        return [(name, _summary(source)) for name, source in sorted(Source.choices.items())]
    if kind == "variants":
        return [(variant.name, variant.summary) for variant in VARIANTS.values()]
    return list(TARGETS.items())


def _first_comment(path: Path) -> str:
    comments = [line.lstrip("# ") for line in path.read_text().splitlines() if line.startswith("#") and "$schema" not in line]
    return comments[0] if comments else ""


def _summary(source: type) -> str:
    return (source.__doc__ or "").strip().split("\n")[0]
