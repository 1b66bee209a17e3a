"""Runs every recipe of a folder and prints one table: what each family is worth as it ships.

    make recipes-vision
    python benchmarks/recipes.py recipes/vision --runs runs
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from pipelines.ingest.sources.image_folder import ImageFolder
from pipelines.recipe import file as recipe_file

LITEPRESS = str(Path(sys.executable).with_name("litepress"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    rows, failed = [], 0
    with tempfile.TemporaryDirectory() as scratch:
        for recipe in sorted(options.folder.glob("*.yaml")):
            if (photos := photos_missing(recipe)) is not None:
                rows.append(f"{recipe.stem:<14}  left out: its folder {photos} is not there")
                continue
            results = Path(scratch) / f"{recipe.stem}.json"
            code = subprocess.run([LITEPRESS, "run", str(recipe), "--runs", str(options.runs), "--json",
                                   str(results)]).returncode
            failed += code != 0
            rows.append(row(recipe, code, results))
    print(f"\n{'recipe':<14}  {'float':>7}  {'float16':>7}  {'int8':>7}  {'int8 drop':>9}  {'float32 kB':>10}  "
          f"{'int8 kB':>8}  "
          f"{'int8 ms':>8}  {'float max |Δ|':>14}  gates")
    print("\n".join(rows))
    sys.exit(failed > 0)


def photos_missing(recipe: Path) -> str | None:
    """Return the folder of images that a template names, where it is the reader's to fill and is not there."""
    source = recipe_file.read(recipe).data.source
    return source.path if isinstance(source, ImageFolder) and not Path(source.path).is_dir() else None


def row(recipe: Path, code: int, results: Path) -> str:
    """Return a line of the table."""
    if not results.exists():
        return f"{recipe.stem:<14}  ended with exit code {code}"
    result = json.loads(results.read_text())
    of = {one["variant"]: one for one in result["artifacts"] if one["target"] == "litert"}
    if not of:
        return f"{recipe.stem:<14}  {result['reference']['metrics']['accuracy']:>7.4f}  stopped: gate missed"
    passed = all(gate["passed"] for gate in result["gates"])
    return (f"{recipe.stem:<14}  {result['reference']['metrics']['accuracy']:>7.4f}  "
            f"{of['float16']['metrics']['accuracy']:>7.4f}  "
            f"{of['int8']['metrics']['accuracy']:>7.4f}  {of['int8']['drop']['accuracy']:>9.4f}  "
            f"{of['float32']['bytes'] / 1000:>10,.0f}  "
            f"{of['int8']['bytes'] / 1000:>8,.0f}  {of['int8']['latency_ms']['p50']:>8.3f}  "
            f"{of['float32']['max_error']:>14.0e}  "
            f"{'passed' if passed else 'MISSED'}")


if __name__ == "__main__":
    main()
