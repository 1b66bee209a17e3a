"""Holds the files of a run on sound against recordings that its recipe leaves out: other voices, or people.

    make data-speech
    litepress run recipes/speech/keywords.yaml
    python benchmarks/speech.py runs/keywords/latest --where split=recorded --by voice

A line for each TFLite file: how many of the recordings it answers correctly, and of each value of a column. The rows
are those of the recipe's own list.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from export.predictors import LiteRTPredictor
from pipelines.engine import runs
from pipelines.errors import UserError
from pipelines.ingest.index import Index
from pipelines.ingest.sources.recordings import Recordings
from pipelines.recipe.recipe import Recipe
from pipelines.reporting.tables import aligned
from pipelines.tasks.audio_classification import AUDIO, LABEL
from pipelines.tasks.classes import OUTPUT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("--where", action="append", required=True, metavar="COLUMN=VALUE", help="of rows to take")
    parser.add_argument("--by", required=True, metavar="COLUMN", help="to count by")
    options = parser.parse_args()
    try:
        rows = measured(options.run, dict(one.split("=", 1) for one in options.where), options.by)
    except UserError as error:
        sys.exit(str(error))
    print(aligned(rows, [str.ljust] * len(rows[0])))


def measured(folder: Path, where: dict[str, str], by: str) -> list[tuple[str, ...]]:
    """Return a header and a row for each TFLite file of a run: right answers of all, and of each value of a column."""
    run = runs.load(folder)
    recipe = Recipe.model_validate(run.record.recipe)
    index = Index.model_validate_json(run.path("ingest", "index.json").read_bytes())
    learnt = recipe.data.source
    if not isinstance(learnt, Recordings) or learnt.label is None:
        raise UserError(f"{folder}: its recipe has no list of recordings with labels")
    source = Recordings(path=learnt.path, folder=learnt.folder, file=learnt.file, label=learnt.label,
                        where={column: [value] for column, value in where.items()})
    source.prepare()
    column = source.column("train", by)
    if column is None:
        raise UserError(f"--by: {by} is no column of {learnt.path}")
    groups = np.array([value.decode() for value in column])
    feature = recipe.task.features_of(recipe.data, source.fields())[0][AUDIO]
    names, examples = source.fields()[LABEL].names or [], list(source.examples("train"))
    sounds = np.stack([feature.load(example[AUDIO], index.learnt[AUDIO]).numpy() for example in examples])
    truth = np.array([index.names(LABEL).index(names[int(example[LABEL])]) for example in examples])
    values = sorted(set(groups))
    rows: list[tuple[str, ...]] = [("file", "all", *values)]
    for path in sorted(run.path("export", ".").glob("*/*.tflite")):
        right = LiteRTPredictor(path).predict({AUDIO: sounds})[OUTPUT].argmax(axis=1) == truth
        counted = [right, *(right[groups == value] for value in values)]
        rows.append((f"{path.parent.name} {path.stem}",
                     *(f"{one.sum()} of {len(one)}, {one.mean():.3f}" for one in counted)))
    return rows


if __name__ == "__main__":
    main()
