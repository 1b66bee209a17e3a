"""Evaluate: the trained model on the held-out test set. This is the reference that every artifact is compared with."""
from __future__ import annotations

import functools
import json
import shutil

from etils import epy

from export.measure.compare import order_independent
from export.predictors import open_predictor
from export.signature import Arrays
from pipelines.figures import figures
from pipelines.ingest.data import Data
from pipelines.stages import asked
from pipelines.stages.context import EVALUATION, ORDER, REFERENCE, SAMPLES, WORST, Context, listed, reference
from pipelines.tasks.task import Evaluation

with epy.lazy_imports():
    import numpy as np

#: Examples of the grid of wrong answers, and golden samples in a bundle, at most.
SHOWN, GOLDEN = 20, 10
#: The folder of what measures draw, so that their names do not meet those of the stage.
FIGURES = "figures"


def run(context: Context) -> str:
    data = context.data()
    task = data.task
    examples = data.index.splits["test"].examples
    predictor = open_predictor(context.model())
    kept = asked.Kept(context.work / REFERENCE, examples)
    worst = asked.Worst(SHOWN)
    firsts: list[Arrays] = []
    probed = asked.probe_size(data, examples)
    varied = asked.Varied(data.index.class_target, GOLDEN)

    def see(inputs: Arrays, targets: Arrays, outputs: Arrays, wrong: np.ndarray) -> None:
        if worst.seen < probed:
            firsts.append(inputs)
        kept.add(outputs)
        worst.add(inputs, targets, outputs, wrong)
        varied.add(targets)
        context.progress(0.8 * worst.seen / examples, f"{worst.seen:,} of {examples:,} examples")

    drawn = context.work / FIGURES
    shutil.rmtree(drawn, ignore_errors=True)
    drawn.mkdir()
    result = task.evaluate(predictor, data.batches("test"), data.index, drawn, see)
    result = task.completed(result, predictor, data, drawn)
    expected = reference(context.work)
    count = asked.probe_size(data, kept.written)
    probe = {name: np.concatenate([one[name] for one in firsts])[:count] for name in firsts[0]}
    independent = order_independent(predictor, probe, {name: values[:count] for name, values in expected.items()})
    (context.work / EVALUATION).write_text(result.model_dump_json(indent=1))
    (context.work / ORDER).write_text(json.dumps({"order_independent": independent}))
    (context.work / SAMPLES).write_text(json.dumps([position for position in varied.positions
                                                    if position < kept.written]))
    _record(context, data, result)
    _draw_worst(context, data, worst)
    return "  ".join(f"{metric.title} {result.metrics[metric.name]:.3f}" for metric in task.metrics if metric.shown)


def _record(context: Context, data: Data, result: Evaluation) -> None:
    index = data.index
    context.journal.dataset(f"{index.source}/test", index.digest, index.splits["test"].examples, "test")
    context.journal.metrics(result.metrics)
    for other, metrics in result.baselines.items():
        context.journal.metrics(listed(metrics, suffix=f".{other}"))
    for table in result.tables:
        for name, *cells in table.rows:
            numbers = {f"{column}.{name}".lower().replace(" ", "_"): cell
                       for column, cell in zip(table.columns[1:], cells, strict=True) if isinstance(cell, float)}
            if numbers:
                context.journal.metrics(numbers)


def _draw_worst(context: Context, data: Data, worst: asked.Worst) -> None:
    """Draw the examples that the model is most wrong about; where it has none, those it was least sure of."""
    chosen = worst.chosen
    titles = [data.task.title(one.targets, one.outputs, 0, one.score, data) for one in chosen]
    figures.grid([functools.partial(data.task.draw, data=data, inputs=one.inputs, targets=one.targets, position=0,
                                    title=title)
                  for one, title in zip(chosen, titles, strict=True)], context.work / WORST)
