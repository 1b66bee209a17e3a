"""Evaluate: the trained model on the held-out test set. This is the reference that every artifact is compared with."""
from __future__ import annotations

import json
import shutil

from etils import epy

from export.measure.compare import order_independent
from export.predictors import open_predictor
from export.signature import Arrays
from pipelines.ingest.data import Data
from pipelines.stages import asked
from pipelines.stages.context import EVALUATION, ORDER, REFERENCE, SAMPLES, WORST, Context, listed, reference
from pipelines.tasks.task import Evaluation

with epy.lazy_imports():
    import numpy as np

#: Examples of the grid of wrong answers, or of each rank, and golden samples in a bundle, at most.
SHOWN, RANKED, GOLDEN = 20, 3, 10
#: The folder of what measures draw, so that their names do not meet those of the stage.
FIGURES = "figures"


def run(context: Context) -> str:
    data = context.data()
    task = data.task
    examples = data.index.splits["test"].examples
    predictor = open_predictor(context.model())
    kept = asked.Kept(context.work / REFERENCE, examples)
    shown: asked.Shown = asked.Ranked(RANKED) if task.ranked else asked.Worst(SHOWN)
    first = asked.First(asked.probe_size(data, examples))
    varied = asked.Varied(data.index.class_target, GOLDEN)

    def see(inputs: Arrays, targets: Arrays, outputs: Arrays, wrong: np.ndarray) -> None:
        first.add(inputs, {})
        kept.add(outputs)
        shown.add(inputs, targets, outputs, wrong)
        varied.add(inputs, targets)
        context.progress(0.8 * first.seen / examples, f"{first.seen:,} of {examples:,} examples")

    drawn = context.work / FIGURES
    shutil.rmtree(drawn, ignore_errors=True)
    drawn.mkdir()
    result = task.evaluate(predictor, data.batches("test"), data.index, drawn, see)
    result = task.completed(result, predictor, data, drawn)
    count = asked.probe_size(data, kept.written)
    probe, expected = ({name: values[:count] for name, values in arrays.items()}
                       for arrays in (first.inputs, reference(context.work)))
    independent = order_independent(predictor, probe, expected)
    (context.work / EVALUATION).write_text(result.model_dump_json(indent=1))
    (context.work / ORDER).write_text(json.dumps({"order_independent": independent}))
    (context.work / SAMPLES).write_text(json.dumps([position for position in varied.positions
                                                    if position < kept.written]))
    _record(context, data, result)
    task.draw_answers(data, shown.examples(data, predictor), context.work / WORST)
    shown_metrics = (f"{metric.title} {result.metrics[metric.name]:.3f}" for metric in task.metrics if metric.shown)
    return "; ".join(["  ".join(shown_metrics), *result.remarks])


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
