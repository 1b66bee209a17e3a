"""What pictures are put beside: training images as a judge sees them, and those that are nearest."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epy

from export.signature import Arrays
from pipelines.ingest.index import Part
from pipelines.tasks.evaluation import Evaluation, Figure, rounded
from pipelines.tasks.image_generation import baselines, distances
from pipelines.tasks.image_generation.measure import BITS, COLUMNS, REAL, compared, draw, levels
from pipelines.tasks.image_generation.seen import Judging, Seen

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

PARTS: tuple[Part, ...] = ("train", "validation", "test")
#: Training images that are the nearest of each picture.
NEAREST = 4
#: Training images that simple models learn from, at most.
LEARNT = 10_000


def completed(evaluation: Evaluation, judge: Judging, make: Callable[[Arrays], np.ndarray], data: Data,
              folder: Path) -> Evaluation:
    """Return an evaluation with what other pictures are worth: as many training images as there are test images, which
    are as near as pictures can come, and those of simple models of pixels; and with a figure of pictures beside the
    training images that are nearest to them.

    Args:
        make: from inputs to pictures.
    """
    train, validation, test = (np.concatenate([inputs[REAL] for inputs, _ in data.batches(part)])
                               for part in PARTS)
    real, seen = judge.look(test), judge.look(train)
    order = np.random.default_rng(data.seed).permutation(len(train))
    chosen = order[:len(test)]
    worth = {baselines.TRAINING: compared(Seen(seen.features[chosen], seen.scores[chosen]), real, judge.suffix)}
    for name, learn in ((baselines.FACTORIZED, baselines.factorized), (baselines.MIXTURE, baselines.mixture)):
        simple = learn(train[order[:LEARNT]], validation, test)
        worth[name] = {**compared(judge.look(simple.pictures), real, judge.suffix), BITS: simple.bits}
    inputs, _ = data.arrays("test", COLUMNS)
    pictures = levels(make(inputs))
    near = distances.nearest(judge.look(pictures).features, seen.features, NEAREST)
    draw(np.concatenate([pictures, *(train[column] for column in near.T)]), folder / "nearest.png", len(pictures))
    figure = Figure(file="nearest.png", caption="Pictures, and below each the training images that are nearest to it "
                                                "as the judge sees them: a picture that is one of them was learnt by "
                                                "heart")
    return evaluation.model_copy(update={
        "baselines": {**evaluation.baselines, **{name: rounded(metrics) for name, metrics in worth.items()}},
        "figures": [*evaluation.figures, figure]})
