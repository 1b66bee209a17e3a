"""Verify: every artifact on the whole test set, against the trained Keras model."""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from etils import epy
from pydantic import BaseModel

from export.artifacts import Exported, ExportedList
from export.benchmark import latency
from export.measure.compare import Measurement, compare, order_independent
from export.predictors import IMAGE, Predictor, open_predictor
from export.tflite import profile
from pipelines.engine import workers
from pipelines.errors import StageError
from pipelines.figures import figures
from pipelines.ingest import stream
from pipelines.ingest.sources.source import Index
from pipelines.recipe.recipe import Recipe
from pipelines.stages.context import Context
from pipelines.stages.evaluate import PROBE, REFERENCE
from pipelines.stages.export import LISTING
from pipelines.stages.served import PROTOCOLS, Served
from pipelines.stages.served import predictors as serving_predictors
from pipelines.tasks import image_classification as task

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

LOGITS_FILE = "logits.npz"
SAVED_MODEL = "saved_model"
#: A served model's logits may be off the trained model's by so much.
EQUAL = 1e-4


class Verified(Measurement):
    """An artifact by its name, and what it is worth.

    Args:
        served: by protocol, for what TF Serving serves.
    """

    name: str
    served: dict[str, Served] = {}


class VerifiedList(BaseModel):
    """All artifacts of a model."""

    artifacts: list[Verified]


def run(context: Context) -> str:
    exported = ExportedList.model_validate_json((context.inputs["export"] / LISTING).read_bytes()).here
    verified, latencies, logits = [], {}, {}
    examples = context.index().splits["test"].examples
    for number, one in enumerate(exported):
        context.progress(number / len(exported), f"{one.title} on {examples:,} examples")
        result, own_logits, time = workers.isolated(
            verify_one, context.recipe.written(), context.index(), one, context.inputs, what=f"verify {one.title}")
        verified.append(result)
        latencies[one.name], logits[one.name] = time, own_logits
        context.journal.metrics({f"{name}.{one.name}": value for name, value in result.metrics.items()})
        context.journal.metrics({f"drop.{one.name}": result.drop[task.MAIN_METRIC], f"latency_ms_p50.{one.name}": time["p50"],
                                 f"latency_ms_p95.{one.name}": time["p95"], f"max_logit_error.{one.name}": result.max_logit_error,
                                 f"top1_agreement.{one.name}": result.top1_agreement,
                                 f"order_independent.{one.name}": result.order_independent})
        for protocol, found in result.served.items():
            context.journal.metrics({f"{name}.{protocol}": value for name, value in found.model_dump().items()})
    _explain_speed(context, exported, latencies)
    (context.work / "verified.json").write_text(VerifiedList(artifacts=verified).model_dump_json(indent=1))
    (context.work / "latency.json").write_text(json.dumps(latencies, indent=1))
    np.savez(context.work / LOGITS_FILE, **logits)
    reference = np.load(context.inputs["evaluate"] / REFERENCE)["logits"]
    figures.logit_errors({name: np.abs(values - reference) for name, values in logits.items()}, context.work / "logit_errors.png")
    return f"{len(exported)} artifacts × {examples:,} examples"


def _explain_speed(context: Context, exported: Sequence[Exported], latencies: dict[str, dict]) -> None:
    """Says of each integer file that gains little over float32 which operators are to blame, from the time of each on its own."""
    whole = next((one for one in exported if one.name == "float32"), None)
    for one in exported:
        if whole is None or one.target != "litert" or not one.integer or (
                latencies[one.name]["p50"] * profile.WORTH <= latencies[whole.name]["p50"]):
            continue
        exact, rounded = (workers.isolated(time_by_kind, context.inputs["export"] / file.path, context.recipe.verify.threads,
                                           what=f"verify {file.title}: operators") for file in (whole, one))
        latencies[one.name]["why"] = profile.why_slow(exact, rounded)
        context.journal.note(f"{one.name}: {latencies[one.name]['why']}")


def time_by_kind(path: Path, threads: int) -> dict[str, float]:
    """Milliseconds that a file's operators take, by their kind."""
    return profile.by_kind(profile.operator_times(path.read_bytes(), threads=threads))


def verify_one(written: dict, index: Index, exported: Exported, inputs: dict[str, Path]) -> tuple[Verified, np.ndarray, dict]:
    """Verifies one artifact: its worth, its logits, its latency."""
    recipe = Recipe.model_validate(written)
    predictor = open_predictor(inputs["export"] / exported.path, recipe.verify.threads)
    reference = np.load(inputs["evaluate"] / REFERENCE)
    expected = task.measure(task.Answers(reference["logits"], reference["labels"]), index.classes).metrics
    test = stream.examples(recipe.data.source, index, recipe.data.image, "test")
    answers = task.ask(predictor, test.batch(256).as_numpy_iterator())
    try:
        comparison = compare(answers.logits, reference["logits"])
    except ValueError as error:
        raise StageError(f"verify {exported.title}: {error}") from error
    metrics = task.measure(answers, index.classes).metrics
    probe, _ = stream.arrays(test.take(PROBE))
    verified = Verified(
        name=exported.name, metrics=metrics, drop={name: round(expected[name] - value, 6) for name, value in metrics.items()},
        max_logit_error=comparison.max_logit_error, mean_logit_error=comparison.mean_logit_error,
        top1_agreement=comparison.top1_agreement,
        order_independent=order_independent(predictor, probe, answers.logits[:len(probe)]))
    if exported.target == SAVED_MODEL:
        verified.served = {protocol: serve_one(client, test, protocol, reference["logits"], index.classes)
                           for protocol, client in serving_predictors((inputs["export"] / exported.path).parent, recipe.name)}
    time = latency(predictor.prepared({IMAGE: probe[:1]}), runs=recipe.verify.runs, threads=recipe.verify.threads)
    return verified, answers.logits, vars(time)


def serve_one(client: Predictor, test: tf.data.Dataset, protocol: str, reference: np.ndarray, classes: list[str]) -> Served:
    """Asks the served model about the whole test set. Raises StageError where it does not answer as the trained one."""
    answers = task.ask(client, test.batch(256).as_numpy_iterator())
    error = compare(answers.logits, reference).max_logit_error
    if error > EQUAL:
        raise StageError(f"verify {SAVED_MODEL}: served over {PROTOCOLS[protocol]}, its logits are off by {error:.1e}, more than "
                         f"{EQUAL:.0e}")
    return Served(accuracy=task.measure(answers, classes).metrics[task.MAIN_METRIC], max_logit_error=error)

