"""Runs the recipes of tables five times, with another fifth of the rows held out each time.

    python benchmarks/tables.py
    python benchmarks/tables.py diabetes

Prints, beside scikit-learn's models on the same rows, the mean of each metric over the five fifths: the recipe's own
test part, every fifth row from the fifth on, and the four that played no part in choosing its settings.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import sklearn.datasets

from pipelines.recipe import file as recipe_file

LITEPRESS = str(Path(sys.executable).with_name("litepress"))
RECIPES = Path(__file__).resolve().parent.parent / "recipes" / "tabular"
SETS = ("breast_cancer", "wine", "diabetes")
FOLDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", default=SETS, help=f"of {', '.join(SETS)} (default: all)")
    options = parser.parse_args()
    lines = [f"{'recipe':<14}  {'rows held out':<14}  {'metric':<10}  {'model':>9}  {'beside it':<20}  {'value':>9}"]
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.sets:
            references = [run(name, fold, Path(scratch)) for fold in range(FOLDS)]
            recipe = recipe_file.read(RECIPES / f"{name}.yaml")
            for metric in (one.name for one in recipe.task.metrics if one.shown):
                lines += rows(name, metric, references)
    print("\n" + "\n".join(lines))


def run(name: str, fold: int, scratch: Path) -> dict[str, Any]:
    """Return what a recipe's model and those beside it are worth where the rows of a fold are held out."""
    table = getattr(sklearn.datasets, f"load_{name}")(as_frame=True).frame
    held_out = [number % FOLDS == fold for number in range(len(table))]
    paths = {part: scratch / f"{name}-{fold}-{part}.csv" for part in ("train", "test")}
    table[[not one for one in held_out]].to_csv(paths["train"], index=False)
    table[held_out].to_csv(paths["test"], index=False)
    results = scratch / "results.json"
    source = f"data.source={{csv: {{train: {paths['train']}, test: {paths['test']}}}}}"
    done = subprocess.run([LITEPRESS, "run", str(RECIPES / f"{name}.yaml"), "--set", source, "--set", "gates={}",
                           "--until", "evaluate", "--no-track", "--runs", str(scratch / "runs"), "--json",
                           str(results)])
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(results.read_text())["reference"]


def rows(name: str, metric: str, references: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a metric: over the recipe's own test part, and over the other four."""
    lines = []
    for title, chosen in (("recipe's own", references[FOLDS - 1:]), ("the other four", references[:FOLDS - 1])):
        model = mean(one["metrics"][metric] for one in chosen)
        for other in chosen[0]["baselines"]:
            value = mean(one["baselines"][other][metric] for one in chosen)
            lines.append(f"{name:<14}  {title:<14}  {metric:<10}  {model:>9.4f}  {other.replace('_', ' '):<20}  "
                         f"{value:>9.4f}")
    return lines


if __name__ == "__main__":
    main()
