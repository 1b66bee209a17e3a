"""Verify: every artifact on the whole test set, against the trained model."""
from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export import ranges
from export.artifacts import Exported, ExportedList
from export.benchmark import latency
from export.measure.compare import BINS, Comparison, Difference, order_independent, worst
from export.predictors import Predictor, open_predictor
from export.signature import DEFAULT, Arrays, Signature
from export.tflite import arena, profile
from pipelines.engine import workers
from pipelines.errors import StageError
from pipelines.figures import figures
from pipelines.ingest.data import Data
from pipelines.reporting.verified import PROTOCOLS, VERIFIED, Served, Verified, VerifiedList
from pipelines.stages import asked
from pipelines.stages.context import ANSWERS, LATENCY, Context, listed, reference
from pipelines.stages.sending import Sending
from pipelines.stages.served import examples_over
from pipelines.stages.served import predictors as serving_predictors
from pipelines.tasks.task import Evaluation, Task

with epy.lazy_imports():
    import numpy as np

SAVED_MODEL = "saved_model"
#: A served model's output may be off the trained model's by so much, or by its tolerance where that is more.
EQUAL = 1e-4


def run(context: Context) -> str:
    exported = ExportedList.read(context.inputs["export"]).here
    data = context.data()
    examples = data.index.splits["test"].examples
    verified: list[Verified] = []
    latencies: dict[str, dict[str, Any]] = {}
    answers: dict[str, np.ndarray] = {}
    histograms: dict[str, np.ndarray] = {}
    for number, one in enumerate(exported):
        context.progress(number / len(exported), f"{one.title} on {examples:,} examples")
        done = workers.isolated(verify_one, context, one, what=f"verify {one.title}")
        verified.append(done.verified)
        latencies[one.name] = done.latency
        histograms[one.name] = done.histogram
        answers |= {f"{one.name}/{name}": values for name, values in done.samples.items()}
        _record(context, data, done)
    _explain_speed(context, exported, latencies)
    (context.work / VERIFIED).write_text(VerifiedList(artifacts=verified).model_dump_json(indent=1))
    (context.work / LATENCY).write_text(json.dumps(latencies, indent=1))
    np.savez(context.work / ANSWERS, **answers)  # type: ignore[arg-type]
    figures.errors({name: counts.tolist() for name, counts in histograms.items()}, np.array(BINS),
                   context.work / "errors.png")
    compared = min(one.compared for one in verified)
    partly = f", outputs compared on {compared:,}" if compared < examples else ""
    return f"{len(exported)} artifacts × {examples:,} examples{partly}"


class Done:
    """What `verify_one` gives: what was measured, and the artifact's outputs on the golden samples."""

    def __init__(self, verified: Verified, latency: dict[str, Any], histogram: np.ndarray,
                 samples: dict[str, np.ndarray]):
        self.verified = verified
        self.latency = latency
        self.histogram = histogram
        self.samples = samples


def verify_one(context: Context, exported: Exported) -> Done:
    """Verify one artifact. Raises StageError where it does not answer as the trained model's form does."""
    data = context.data()
    predictor: Predictor = open_predictor(context.inputs["export"] / exported.path, context.recipe.verify.threads)
    if exported.target == SAVED_MODEL:
        predictor = Sending(predictor, data)
    evaluated = context.inputs["evaluate"]
    asking = _Asking(data, evaluated, context.samples(), exported)
    asked.checked(exported.title, lambda: asking.ask(predictor))
    assert asking.evaluation is not None
    known = context.evaluation().metrics
    probe = asking.first.inputs
    furthest = worst(asking.comparison.result())
    verified = Verified(
        name=exported.name, metrics=asking.evaluation.metrics,
        drop={metric.name: metric.drop(known[metric.name], asking.evaluation.metrics[metric.name])
              for metric in data.task.metrics if metric.name in known and metric.name in asking.evaluation.metrics},
        max_error=furthest.max, mean_error=furthest.mean, agreement=furthest.agreement,
        compared=asking.comparison.count,
        order_independent=order_independent(predictor, probe, asking.first.outputs), beyond=asking.beyond)
    if exported.target == SAVED_MODEL:
        folder = (context.inputs["export"] / exported.path).parent
        verified.served = {protocol: serve_one(client, data, protocol, evaluated)
                           for protocol, client in serving_predictors(folder, context.recipe.name, data)}
    times = _latencies(context, data.task, predictor, {name: values[:1] for name, values in probe.items()})
    if exported.seconds is not None:
        times["real_time_factor"] = times["p50"] / 1000 / exported.seconds
    return Done(verified, times, asking.comparison.histogram, asking.samples)


def _latencies(context: Context, task: Task, predictor: Predictor, one: Arrays) -> dict[str, Any]:
    """Return how long the artifact takes for one example and, where its task does something behind it, with that; of
    one that is asked step by step, also how often it is asked for an answer, and its memory.

    Args:
        one: a batch of one example.
    """
    settings = {"runs": context.recipe.verify.runs, "threads": context.recipe.verify.threads}
    times = vars(latency(predictor.prepared(one), **settings))
    given = Given(predictor, one)
    if set(task.answer(given, one)) == set(given.outputs):
        return times
    calls = given.others
    behind = latency(lambda: task.answer(given, one), **settings)
    answered = round(max(1, calls) * times["p50"] + behind.p50, 4)
    if calls < 2:
        return {**times, "answered": answered}
    path = getattr(predictor, "path", None)  # of a TFLite file
    memory = {} if path is None else {"memory_bytes": arena.plan(path.read_bytes()).bytes}
    return {**times, "answered": answered, "calls": calls, "step_ms": times["p50"], **memory}


class Given:
    """A predictor that gives at once what another gave: what is timed with it is the work behind a file, its further
    signatures among it.

    Args:
        predictor: it is asked once by the usual signature.
        inputs: what it is asked, and will be.
    """

    def __init__(self, predictor: Predictor, inputs: Arrays):
        self.signatures: Mapping[str, Signature] = predictor.signatures
        self.outputs = predictor.predict(inputs)
        #: How often it was asked by the usual signature, with other inputs than these.
        self.others = 0
        self._predictor, self._inputs = predictor, inputs

    def predict(self, inputs: Arrays, signature: str = DEFAULT) -> dict[str, np.ndarray]:
        if signature != DEFAULT:
            return self._predictor.predict(inputs, signature)
        self.others += any(values is not self._inputs.get(name) for name, values in inputs.items())
        return self.outputs

    def prepared(self, inputs: Arrays, signature: str = DEFAULT) -> Callable[[], object]:
        return lambda: self.outputs


def serve_one(client: Predictor, data: Data, protocol: str, evaluated: Path) -> Served:
    """Ask the served model about the test set, or its first examples where its outputs are large.

    Raises:
        StageError: it does not answer as the trained one.
    """
    examples = examples_over(protocol, data)
    cut = examples < data.index.splits["test"].examples
    data = data.first(examples) if cut else data
    asking = _Asking(data, evaluated, [])
    asked.checked(SAVED_MODEL, lambda: asking.ask(client))
    assert asking.evaluation is not None
    differences = asking.comparison.result()
    _refuse_other(differences, asking, PROTOCOLS[protocol])
    furthest = worst(differences)
    return Served(metrics=asking.evaluation.metrics, max_error=furthest.max, agreement=furthest.agreement,
                  examples=examples if cut else None)


def _refuse_other(differences: Mapping[str, Difference], asking: _Asking, protocol: str) -> None:
    """Raise StageError where a served output is further from the reference than float sums in another order are."""
    for tensor in asking.compared.tensors:
        allowed = max(EQUAL, tensor.tolerance * asking.largest[tensor.name])
        if (error := differences[tensor.name].max) > allowed:
            which = "its outputs are" if len(differences) == 1 else f"its output {tensor.name} is"
            raise StageError(f"verify {SAVED_MODEL}: served over {protocol}, {which} off by {error:.1e}, more than "
                             f"{allowed:.0e}")


def _largest(values: np.ndarray) -> float:
    """Return the largest absolute value; 0 of texts."""
    return 0.0 if values.dtype.kind in "OSU" else max(float(values.max(initial=0)), -float(values.min(initial=0)))


class _Asking:
    """One pass of a predictor over the test set: measured by the task, compared with the reference, its samples
    kept.

    Args:
        evaluated: the folder of evaluate's artifact, with the reference.
        positions: of the samples in the test split.
        exported: what is asked; None for what is served of it.
    """

    def __init__(self, data: Data, evaluated: Path, positions: Sequence[int], exported: Exported | None = None):
        self.exported = exported
        self.data = data
        self.evaluated = evaluated
        self.positions = positions
        expected = reference(evaluated)
        self.kept = min(data.index.splits["test"].examples, *(len(values) for values in expected.values()))
        #: The reference's largest absolute values, by output.
        self.largest: dict[str, float] = {}
        #: How it is compared, once it is known what it gives.
        self.compared = data.task.compared(data.index, list(expected))
        self.comparison = Comparison(self.compared.tensors)
        self.evaluation: Evaluation | None = None
        self.samples: dict[str, np.ndarray] = {}
        #: What the file takes, as it is stored, where the predictor knows it.
        self.taken: Mapping[str, Any] = {}
        #: Examples with an input further out than its integers reach, or than their ranges were found with; None where
        #: that cannot be said.
        self.beyond: int | None = None
        #: What is asked again in another order.
        self.first = asked.First(asked.probe_size(data, self.kept))

    def ask(self, predictor: Predictor) -> None:
        """Ask it everything. Raises ValueError where it gives outputs of another shape, or none."""
        stored = getattr(predictor, "tensors", {})
        self.taken = next(iter(stored.values())).inputs if stored else {}
        self.evaluation = self.data.task.evaluate(predictor, self.data.batches("test"), self.data.index, see=self._see)

    def _outside(self, inputs: Arrays) -> np.ndarray | None:
        """Return for each example whether an input lies outside of the file's ranges, (examples,); None where what it
        takes has none, and nobody knows what they were found with."""
        integers = [self.taken[name].beyond(values) for name, values in inputs.items()
                    if name in self.taken and self.taken[name].scale and not self.taken[name].stores_values]
        if integers:
            return np.any(integers, axis=0)
        return ranges.outside(self.exported.ranges, inputs) if self.exported is not None else None

    def _see(self, inputs: Arrays, targets: Arrays, outputs: Arrays, wrong: np.ndarray) -> None:
        start, count = self.first.seen, len(wrong)
        if (outside := self._outside(inputs)) is not None:
            self.beyond = (self.beyond or 0) + int(outside.sum())
        if not start:
            self.compared = self.data.task.compared(self.data.index, list(outputs))
            self.comparison = Comparison(self.compared.tensors)
        names = [tensor.name for tensor in self.compared.tensors]
        made = self.compared.made(outputs)
        if missing := set(names) - set(made):
            raise ValueError(f"it does not give {', '.join(sorted(missing))}")
        fitting = min(count, self.kept - start)
        if fitting > 0:  # mapped anew for each batch: pages of a map that stays count as memory
            expected = self.compared.expected({name: np.array(values[start:start + fitting])
                                               for name, values in reference(self.evaluated).items()})
            self.comparison.add(self.compared.paired({name: values[:fitting] for name, values in made.items()},
                                                     expected), expected)
            self.largest |= {name: max(self.largest.get(name, 0.0), _largest(expected[name])) for name in names}
        known = list(reference(self.evaluated))
        if all(name in names for name in known):  # what else it gives is made of these
            outputs = {name: outputs[name] for name in known}
        self.first.add(inputs, outputs)
        here = [position - start for position in self.positions if start <= position < start + count]
        if here:
            for name, values in outputs.items():
                before = [self.samples[name]] if name in self.samples else []
                self.samples[name] = np.concatenate([*before, values[here]])


def _record(context: Context, data: Data, done: Done) -> None:
    result = done.verified
    context.journal.metrics(listed(result.metrics, suffix=f".{result.name}"))
    context.journal.metrics(listed({
        "drop": result.drop[data.task.main.name], "latency_ms_p50": done.latency["p50"],
        "latency_ms_p95": done.latency["p95"],
        "max_error": result.max_error, "agreement": result.agreement, "order_independent": result.order_independent},
        suffix=f".{result.name}"))
    for protocol, served in result.served.items():
        context.journal.metrics(listed({**served.metrics, "max_error": served.max_error}, suffix=f".{protocol}"))


def _explain_speed(context: Context, exported: Sequence[Exported], latencies: dict[str, dict]) -> None:
    """Say of each integer file that gains little over float32 which operators are to blame, from the time of each on
    its own."""
    whole = next((one for one in exported if one.name == "float32"), None)
    if whole is None:
        return
    for one in exported:
        gains = latencies[one.name]["p50"] * profile.WORTH <= latencies[whole.name]["p50"]
        if one.target != "litert" or not one.integer or gains:
            continue
        exact, rounded = (workers.isolated(time_by_kind, context.inputs["export"] / file.path,
                                           context.recipe.verify.threads,
                                           what=f"verify {file.title}: operators") for file in (whole, one))
        latencies[one.name]["why"] = profile.why_slow(exact, rounded)
        context.journal.note(f"{one.name}: {latencies[one.name]['why']}")


def time_by_kind(path: Path, threads: int) -> dict[str, float]:
    """Return milliseconds that a file's operators take, by their kind."""
    return profile.by_kind(profile.operator_times(path.read_bytes(), threads=threads))
