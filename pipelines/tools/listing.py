"""What there is to choose from."""
from __future__ import annotations

from pathlib import Path

import models
import pipelines.targets  # noqa: F401  makes the targets known
from models.census import census
from pipelines.ingest import Source
from pipelines.targets.target import Target
from pipelines.variants.variant import Variant


def rows(kind: str) -> list[tuple[str, str]]:
    """Name and one line of explanation for each of `kind`: recipes, models, sources, variants, targets."""
    if kind == "recipes":
        return [(str(path), _first_comment(path)) for path in sorted(Path("recipes").rglob("*.yaml"))]
    if kind == "models":
        return [(builder.name, f"{builder.summary} {builder.paper}") for builder in models.builders()]
    if kind == "sources":
        return [(name, _summary(source)) for name, source in sorted(Source.choices.items())]
    if kind == "variants":
        written_first = sorted(Variant.choices.items(), key=lambda choice: choice[1].learns)  # type: ignore[attr-defined]
        return [(name, _summary(variant)) for name, variant in written_first]
    return [(name, f"{state:<6} {summary}") for name, state, summary in targets()]


def targets() -> list[tuple[str, str, str]]:
    """Every target's name, whether it is ready here, and what it is or what is missing for it."""
    found = []
    for name, target in Target.choices.items():
        absent = target.ready()  # type: ignore[attr-defined]
        found.append((name, "no" if absent else "ready", f"{_summary(target)}{f' ({absent})' if absent else ''}"))
    return found


def model_table() -> list[str]:
    """The table of all models, a line each."""
    lines = [f"{'family':<18}  {'model':<18}  {'input':>13}  {'parameters':>11}  {'multiply-adds':>13}  {'float32':>9}  {'int8':>9}  paper"]
    for one in census():
        shape, _ = one.builder.at
        lines.append(f"{one.builder.family:<18}  {one.builder.name:<18}  {' x '.join(map(str, shape)):>13}  {one.parameters:>11,}  "
                     f"{one.multiply_adds / 1e6:>11,.1f} M  {one.parameters * 4 / 1e6:>6,.1f} MB  {one.parameters / 1e6:>6,.1f} MB  "
                     f"{one.builder.paper}")
    return lines


def _first_comment(path: Path) -> str:
    comments = [line.lstrip("# ") for line in path.read_text().splitlines() if line.startswith("#") and "$schema" not in line]
    return comments[0] if comments else ""


def _summary(source: type) -> str:
    return (source.__doc__ or "").strip().split("\n")[0]
