"""What the columns of a table hold: missing numbers, vocabularies, and words that training does not have."""
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from etils import epy

from pipelines.ingest.index import Part
from pipelines.tasks.evaluation import Table

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from pipelines.ingest.data import Data


class Held(NamedTuple):
    """What a column holds in a split: missing numbers or empty words, and words that are not in the vocabulary."""

    missing: int
    unknown: int


def held(data: Data, part: Part) -> dict[str, Held]:
    """Return what each column holds in a split."""
    counts = {name: np.zeros(2, int) for name in data.index.inputs}
    for inputs, _ in data.batches(part):
        for name, values in inputs.items():
            words = data.index.inputs[name].words
            if words:
                missing = values == words.index("") if "" in words else np.zeros(len(values), bool)
                counts[name] += [missing.sum(), (values == 0).sum()]
            else:
                counts[name] += [np.isnan(values).sum(), 0]
    return {name: Held(int(missing), int(unknown)) for name, (missing, unknown) in counts.items()}


def word_counts(data: Data) -> dict[str, np.ndarray]:
    """Return how many training rows have each position of a category's vocabulary, (words,), by column."""
    counts = {name: np.zeros(len(tensor.words), int) for name, tensor in data.index.inputs.items() if tensor.words}
    for inputs, _ in data.batches("train"):
        for name, known in counts.items():
            known += np.bincount(inputs[name], minlength=len(known))
    return counts


def notes(data: Data) -> list[str]:
    """Return a line for each column whose words are not all in the vocabulary of the training split."""
    if not any(tensor.words for tensor in data.index.inputs.values()):
        return []
    lines = []
    for part, split in data.index.splits.items():
        for name, one in held(data, part).items():
            if one.unknown:
                lines.append(f"{name}: {one.unknown:,} of {split.examples:,} {part} rows have a word that is not in "
                             "the vocabulary")
    return lines


def table(data: Data) -> Table:
    """Return the table of the report: what each column is, and what it holds."""
    train, test = held(data, "train"), held(data, "test")
    rows: list[list[str | int | float]] = []
    for name, tensor in data.index.inputs.items():
        statistics = data.index.learnt[name].statistics
        kind = f"{len(tensor.words) - 1} words" if tensor.words else "number"
        usual = "" if tensor.words else f"{statistics['mean'][0]:.4g} ± {statistics['deviation'][0]:.4g}"
        rows.append([name, kind, usual, train[name].missing, test[name].missing, test[name].unknown])
    return Table(title="Columns", rows=rows, columns=["column", "kind", "mean ± deviation", "missing in training",
                                                      "missing in the test", "unknown words in the test"])
