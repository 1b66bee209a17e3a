"""Runs recipes and prints one table: what each is worth as it ships, or how far it stays from its gates.

    make recipes-vision
    python benchmarks/recipes.py recipes/vision
    python benchmarks/recipes.py mobilenet_v2 vit --seeds 3

With several seeds every recipe is run with its own and the following ones, and the table has a line for each gate:
the mean of what was measured, its spread (the standard deviation of one run), the worst, and whether all runs passed.
What has run before is not run again. The table has the variants float16 and int8 beside the float model, unless others
are named; drop, size and time are the last one's:

    python benchmarks/recipes.py gpt t5 --variants float16 int8 dynamic
"""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.entries import nearest
from pipelines.recipe import file as recipe_file

LITEPRESS = str(Path(sys.executable).with_name("litepress"))
RECIPES = Path(__file__).resolve().parent.parent / "recipes"
#: Decimals of what gates are about.
DIGITS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", metavar="RECIPE", help="a folder of recipes, a file, or a recipe's name")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="run each with so many seeds (default: 1)")
    parser.add_argument("--until", metavar="STAGE", help="stop after this stage, for instance evaluate")
    parser.add_argument("--variants", nargs="+", default=["float16", "int8"], metavar="VARIANT",
                        help="columns of the table (default: float16 int8)")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error("--seeds: give at least 1")
    try:
        recipes = [recipe for name in options.recipes for recipe in files(name)]
    except ValueError as error:
        parser.error(str(error))
    measured: dict[Path, list[dict[str, Any] | int]] = {}
    left_out = {}
    for recipe in recipes:
        if (folder := missing(recipe)) is not None:
            left_out[recipe] = folder
            continue
        first = recipe_file.read(recipe).seed
        measured[recipe] = [run(recipe, seed, options.until, options.runs)
                            for seed in range(first, first + options.seeds)]
    print()
    lines = (table(measured, options.variants) if options.seeds == 1
             else seeds_table(measured, whole=options.until is None))
    for line in lines:
        print(line)
    for recipe, path in left_out.items():
        print(f"{recipe.stem:<18}  left out: {path} is not there")
    sys.exit(any(missed(results) for runs in measured.values() for results in runs))


def files(name: str) -> list[Path]:
    """Return the recipes of a folder, a file, or the shipped recipe of this name. Raises ValueError."""
    path = Path(name)
    if path.is_dir():
        return sorted(path.glob("*.yaml"))
    if path.is_file():
        return [path]
    shipped = {recipe.stem: recipe for recipe in sorted(RECIPES.glob("*/*.yaml"))}
    if name not in shipped:
        near = nearest(name, shipped)
        hint = f"Did you mean {near}?" if near else "Give a file, a folder, or the name of one in recipes/"
        raise ValueError(f"there is no recipe {name}. {hint}")
    return [shipped[name]]


def missing(recipe: Path) -> str | None:
    """Return the file or folder that a template names, where it is the reader's to fill and is not there."""
    path = getattr(recipe_file.read(recipe).data.source, "path", None)
    return path if path is not None and not Path(path).exists() else None


def run(recipe: Path, seed: int, until: str | None, runs: Path) -> dict[str, Any] | int:
    """Run a recipe; return its results, or its exit code where it leaves none."""
    with tempfile.TemporaryDirectory() as scratch:
        results = Path(scratch) / "results.json"
        stop = ["--until", until] if until else []
        code = subprocess.run([LITEPRESS, "run", str(recipe), "--set", f"seed={seed}", "--runs", str(runs),
                               "--json", str(results), *stop]).returncode
        return json.loads(results.read_text()) if results.exists() else code


def missed(results: dict[str, Any] | int) -> bool:
    """Return whether a run crashed, or missed a gate."""
    return isinstance(results, int) or not all(gate["passed"] for gate in results["gates"])


def table(measured: dict[Path, list[dict[str, Any] | int]], variants: Sequence[str]) -> list[str]:
    """Return a line for each recipe.

    Args:
        variants: columns; drop, size and time are those of the last.
    """
    last = variants[-1]
    widths = [max(8, len(variant)) for variant in variants]
    wide = widths[-1]
    heads = "  ".join(f"{variant:>{width}}" for variant, width in zip(variants, widths, strict=True))
    first = (f"{'recipe':<18}  {'metric':>18}  {'float':>8}  {heads}  {last + ' drop':>{wide + 5}}  "
             f"{'float32 kB':>10}  {last + ' kB':>{wide + 3}}  {last + ' ms':>{wide + 3}}  {'float max |Δ|':>13}  "
             "gates")
    lines = [first]
    for recipe, (results,) in measured.items():
        if isinstance(results, int):
            lines.append(f"{recipe.stem:<18}  ended with exit code {results}")
            continue
        metric = recipe_file.read(recipe).task.main
        reference = results["reference"]["metrics"][metric.name]
        start = f"{recipe.stem:<18}  {metric.title:>18}  {reference:>8.4f}  "
        gates = "MISSED" if missed(results) else "passed"
        files = {one["variant"]: one for one in results["artifacts"] if one["target"] == "litert"}
        if not files:
            lines.append(f"{start:<{len(first) - 7}}  {gates}")
            continue
        values = [of(files, variant, width, 4, "metrics", metric.name)
                  for variant, width in zip(variants, widths, strict=True)]
        lines.append(start + "  ".join([
            *values, of(files, last, wide + 5, 4, "drop", metric.name),
            of(files, "float32", 10, 0, "bytes", scale=1e-3), of(files, last, wide + 3, 0, "bytes", scale=1e-3),
            of(files, last, wide + 3, 3, "latency_ms", "p50"),
            f"{files['float32']['max_error']:>13.0e}" if "float32" in files else f"{'–':>13}", gates]))
    return lines


def of(files: dict[str, Any], variant: str, width: int, digits: int, *keys: str, scale: float = 1) -> str:
    """Return a number of a file, for a column of the table; a dash where there is no such file."""
    value: Any = files.get(variant)
    for key in keys:
        value = None if value is None else value[key]
    return f"{'–':>{width}}" if value is None else f"{value * scale:>{width},.{digits}f}"


def seeds_table(measured: dict[Path, list[dict[str, Any] | int]], whole: bool) -> list[str]:
    """Return a line for each gate of each recipe.

    Args:
        whole: whether all stages ran; where not, gates that nothing was measured for are left out.
    """
    rows = [("recipe", "gate", "limit", "mean", "spread", "worst", "seeds", "holds")]
    for recipe, runs in measured.items():
        finished = [results for results in runs if not isinstance(results, int)]
        for gate, limit in recipe_file.read(recipe).gates.items():
            checked = [one for results in finished for one in results["gates"] if one["name"] == gate]
            if checked or whole:
                rows.append((recipe.stem, gate, limit, *spread(checked, limit, len(runs))))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) if column < 2 else cell.rjust(width)
                      for column, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows]


def spread(checked: list[dict[str, Any]], limit: str, runs: int) -> tuple[str, str, str, str, str]:
    """Return mean, standard deviation, the worst, how many were measured, and whether all runs passed.

    Args:
        checked: a gate as each run's results have it.
        limit: as the recipe has it.
        runs: how many there were.
    """
    values = [one["value"] for one in checked if one["value"] is not None]
    if not values:
        return "–", "–", "–", f"0 of {runs}", "NO"
    worst = min(values) if limit.strip().startswith(">") else max(values)
    deviation = f"{statistics.stdev(values):.{DIGITS}f}" if len(values) > 1 else "–"
    holds = len(values) == runs and all(one["passed"] for one in checked)
    return (f"{statistics.mean(values):.{DIGITS}f}", deviation, f"{worst:.{DIGITS}f}", f"{len(values)} of {runs}",
            "yes" if holds else "NO")


if __name__ == "__main__":
    main()
