"""Evaluate: the trained Keras model on the held-out test set. This is the reference that every artifact is compared with."""
from __future__ import annotations

import json

from etils import epy

from export.measure.compare import order_independent
from export.predictors import open_predictor
from pipelines.figures import figures
from pipelines.ingest import stream
from pipelines.ingest.sources.source import select
from pipelines.stages.context import Context
from pipelines.tasks import image_classification as task
from pipelines.training.imported_model import trained

with epy.lazy_imports():
    import numpy as np

REFERENCE = "reference.npz"
WORST = 20
#: Examples that are asked again, in another order.
PROBE = 200


def run(context: Context) -> str:
    index, recipe = context.index(), context.recipe
    test = stream.examples(recipe.data.source, index, recipe.data.image, "test")
    predictor = open_predictor(trained(context.inputs["train"]))
    answers = task.ask(predictor, test.batch(256).as_numpy_iterator())
    context.progress(0.7, "drawing")
    result = task.measure(answers, index.classes)
    probe, _ = stream.arrays(test.take(PROBE))
    independent = order_independent(predictor, probe, answers.logits[:len(probe)])
    (context.work / "evaluation.json").write_text(json.dumps({**result.model_dump(), "order_independent": independent}, indent=1))
    np.savez(context.work / REFERENCE, logits=answers.logits, labels=answers.labels)
    context.journal.dataset(f"{index.source}/test", index.digest, len(answers.labels), "test")
    context.journal.metrics(result.metrics)
    for one in result.classes:
        context.journal.metrics({f"{name}.{one.name}": getattr(one, name) for name in ("precision", "recall", "f1")})
    figures.confusion(np.array(result.confusion), index.classes, context.work / "confusion.png")
    figures.reliability(answers.scores.max(axis=1), answers.predicted == answers.labels, context.work / "reliability.png")
    _draw_worst(context, answers)
    shown = {"accuracy": "accuracy", "top3": "top-3", "calibration_error": "calibration error"}
    return "  ".join(f"{label} {result.metrics[name]:.3f}" for name, label in shown.items())


def _draw_worst(context: Context, answers: task.Answers) -> None:
    """The wrong answers that the model was surest of; where it has none, the right ones it was least sure of."""
    recipe, index = context.recipe, context.index()
    wrong, sure = answers.predicted != answers.labels, answers.scores.max(axis=1)
    order = np.lexsort((np.arange(len(sure)), np.where(wrong, -sure, sure), ~wrong))
    chosen = [int(place) for place in order[:WORST] if wrong[place] or not wrong.any()]
    test = select(stream.examples(recipe.data.source, index, recipe.data.image, "test"), chosen)
    images, _ = stream.arrays(test)
    shown = sorted(chosen)
    titles = [f"{index.classes[answers.labels[place]]} taken for\n{index.classes[answers.predicted[place]]} ({sure[place]:.0%})"
              if wrong[place] else f"{index.classes[answers.labels[place]]} ({sure[place]:.0%})" for place in shown]
    rank = {place: number for number, place in enumerate(shown)}
    figures.grid(np.stack([images[rank[place]] for place in chosen]), [titles[rank[place]] for place in chosen],
                  context.work / "worst.png")
