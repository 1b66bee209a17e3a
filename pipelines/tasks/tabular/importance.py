"""Which columns a model leans on: what it loses when one of them says nothing."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from etils import epy

from export.predictors import Predictor
from export.signature import Arrays
from pipelines.figures import figures
from pipelines.tasks.evaluation import Figure, Table

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

#: Test rows that are looked at, at most, and how often each column is shuffled.
ROWS = 2000
REPEATS = 5
#: Columns in the figure, at most.
DRAWN = 20
NAME = "importance.png"


class Importance(NamedTuple):
    """The mean drop of the main metric, and its standard deviation over the repeats."""

    drop: float
    deviation: float


def measured(predictor: Predictor, data: Data) -> dict[str, Importance]:
    """Return the permutation importance of each column, the largest first: what the main metric drops by when the
    column's values are shuffled among the test rows (Breiman 2001; Fisher, Rudin and Dominici 2019).

    A column that others tell as well is not missed, however much it says.
    """
    generator = np.random.default_rng(data.seed)
    examples = data.index.splits["test"].examples
    # of many rows some, drawn, since tables are often sorted
    inputs, targets = data.arrays("test", np.sort(generator.permutation(examples)[:ROWS]).tolist())
    main = data.task.main
    reference = _metric(predictor, data, inputs, targets)
    result = {}
    for name, values in inputs.items():
        shuffled = ({**inputs, name: generator.permutation(values)} for _ in range(REPEATS))
        drops = [main.drop(reference, _metric(predictor, data, one, targets)) for one in shuffled]
        result[name] = Importance(float(np.mean(drops)), float(np.std(drops)))
    return dict(sorted(result.items(), key=lambda item: (-item[1].drop, item[0])))


def table(importances: Mapping[str, Importance], metric: str, rows: int) -> Table:
    """Return the table of the report.

    Args:
        metric: whose drop it is.
        rows: that the test split has.
    """
    seen = f"{ROWS:,} of the test rows, drawn at random" if rows > ROWS else "the test rows"
    return Table(title=f"Importance: what shuffling a column costs, {REPEATS} times on {seen}",
                 columns=["column", f"drop of {metric}", "standard deviation"],
                 rows=[[name, round(one.drop, 6), round(one.deviation, 6)] for name, one in importances.items()])


def draw(importances: Mapping[str, Importance], metric: str, folder: Path) -> Figure:
    """Draw the most important columns as bars with their spread."""
    names = list(importances)[:DRAWN]
    figure = figures.new_figure(7, 1 + 0.25 * len(names))
    axes = figure.add_subplot()
    drops, deviations = zip(*(importances[name] for name in names), strict=True)
    axes.barh(range(len(names)), drops, xerr=deviations, color=figures.COLORS[0], ecolor="gray")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(0, color="gray", linewidth=1)
    axes.set_xlabel(f"drop of {metric}")
    figures.save(figure, folder / NAME)
    left = len(importances) - len(names)
    return Figure(file=NAME, caption="What the model loses when a column is shuffled, with the standard deviation"
                                     + (f"; {left} more columns are in the table" if left else ""))


def _metric(predictor: Predictor, data: Data, inputs: Arrays, targets: Arrays) -> float:
    measure = data.task.measure(data.index)
    measure.add(targets, predictor.predict(inputs))
    return measure.result().metrics[data.task.main.name]
