"""The variant that finds itself: a search through integer forms, the cheapest first, until one loses little enough."""
from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from export.benchmark import latency
from export.conversion import bias_correction, convert, int8
from export.predictors import open_predictor
from export.tflite import explain
from pipelines.engine import workers
from pipelines.engine.store import whole
from pipelines.errors import StageError, UserError
from pipelines.training.distillation import Distillation
from pipelines.variants.trained import Qat, aware_content
from pipelines.variants.variant import Calibration, Learning, Variant, VariantContext, default_inputs

if TYPE_CHECKING:
    from export.predictors import Predictor
    from export.signature import Arrays

Step = Literal["int8", "calibration", "selective", "qat", "qat_distilled", "float16"]
STEPS: dict[str, str] = {
    "int8": "int8 as the converter makes it",
    "calibration": "more examples, of all classes alike, ranges by least squares, biases corrected",
    "selective": "the operators that add most noise in float16",
    "qat": "trained with its rounding",
    "qat_distilled": "trained with its rounding, taught by the float model",
    "float16": "weights in float16"}
#: Training examples that steps after the first find ranges with.
CALIBRATING = 1000
#: Examples that operators are compared on.
EXPLAINED = 64
#: The largest drop that passes where neither the variant nor a gate says another.
DROP = 0.005
#: Shares of the operators that the selective step keeps in float16, one after the other.
KEPT = (0.05, 0.1, 0.2)


class Trial(BaseModel):
    """A candidate that was measured.

    Args:
        rung: its name, that of its step; selective says how many operators it kept.
        drop: of the main metric on the validation split, see `Metric.drop`.
        bytes: of the file.
        latency_ms: median of one inference on one thread.
        passed: whether the drop is within the limit.
    """

    rung: str
    drop: float
    bytes: int
    latency_ms: float
    passed: bool


class Candidate(BaseModel):
    """A file that a step made, by the step's name and what sets it apart from others of that step."""

    name: str
    encoding: str
    content: bytes
    details: dict[str, Any]


class Auto(Variant, name="auto", shorthand="drop"):
    """The cheapest form that loses little enough: int8, calibrated better, in part float16, trained, or float16.

    The drop is measured on the validation split, so that the test split stays unseen until the end. A step that cannot
    be made is passed over.

    Args:
        drop: of the main metric, at most; the recipe's gate on it where not given, or 0.005 where there is none.
        rungs: which steps to try, in this order.
        calibration: for the steps after the first; 1,000 examples where not given, balanced where the task has classes.
        learning: of the steps that train.
    """

    learns, explained = True, True
    drop: float | None = Field(None, ge=0)
    rungs: list[Step] = Field(list(STEPS), min_length=1)  # type: ignore[arg-type]
    calibration: Calibration | None = None
    learning: Learning = Learning()

    @property
    def encoding(self) -> str:
        return "int8"

    @property
    def summary(self) -> str:
        if self.drop is None:
            return "the cheapest form that loses little enough"
        return f"the cheapest form whose main metric drops by at most {self.drop:.4g}"

    def content(self, context: VariantContext) -> bytes:
        """Search: return the first candidate that loses no more than the limit, or the last where none does."""
        limit = context.limits.get(self.title, DROP if self.drop is None else self.drop)
        evaluator = _Evaluator(context)
        trials: list[Trial] = []
        skipped: dict[str, str] = {}
        for candidate in self._candidates(context, skipped):
            trials.append(evaluator.evaluate(candidate, limit))
            if trials[-1].passed:
                break
        if not trials:
            raise ValueError(f"no step could be made: {'; '.join(skipped.values())}")
        step = candidate.name.partition(",")[0]
        context.details |= {
            **candidate.details, "encoding": candidate.encoding, "summary": f"{step}: {STEPS[step]}", "limit": limit,
            "rungs": [trial.model_dump() for trial in trials], "skipped": skipped}
        return candidate.content

    def _candidates(self, context: VariantContext, skipped: dict[str, str]) -> Iterator[Candidate]:
        """Yield what each step makes, when it is asked for; write into `skipped` why a step could not be made."""
        for step in self.rungs:
            try:
                yield from workers.isolated(
                    make_candidates, self.written(), context, step, what=f"{self.title}, {step}")
            except (StageError, UserError) as error:
                skipped[step] = str(error)
                context.journal.note(f"{self.title}: {step} cannot be made: {error}")


def make_candidates(written: dict[str, Any], context: VariantContext, step: Step) -> list[Candidate]:
    """Return the files of a step, the cheapest first. A process of its own makes them, so that a crash costs the step
    and no more."""
    builder = _CandidateBuilder(Auto.read(written), context)  # type: ignore[arg-type]
    try:
        return list(builder.build(step))
    except ValueError as error:
        raise StageError(" ".join(str(error).split())[:500]) from error


class _Evaluator:
    """Measures candidates: what each loses on the validation split, its bytes, and how fast it answers."""

    def __init__(self, context: VariantContext):
        self.context = context
        self.example, _ = context.validation(1)
        self.reference = self._metric(open_predictor(context.model))

    def evaluate(self, candidate: Candidate, limit: float) -> Trial:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "candidate.tflite"
            path.write_bytes(candidate.content)
            predictor = open_predictor(path)
            drop = self.context.data.task.main.drop(self.reference, self._metric(predictor))
            milliseconds = latency(predictor.prepared(self.example), runs=50, threads=1).p50
        size = len(candidate.content)
        self.context.journal.note(f"{candidate.name} drops {drop:.4f} of at most {limit}, {size:,} bytes, "
                                  f"{milliseconds:.3f} ms")
        return Trial(rung=candidate.name, drop=drop, bytes=size, latency_ms=milliseconds, passed=drop <= limit)

    def _metric(self, predictor: Predictor) -> float:
        data = self.context.data
        return data.task.evaluate(predictor, data.batches("validation"), data.index).metrics[data.task.main.name]


class _CandidateBuilder:
    """Makes the candidates of one model. What several steps need is kept in the variant's folder."""

    def __init__(self, settings: Auto, context: VariantContext):
        self.settings = settings
        self.context = context
        self.requested = settings.calibration or Calibration(
            examples=CALIBRATING, balanced=context.data.index.class_target is not None)

    def build(self, step: Step) -> Iterator[Candidate]:
        """Yield the step's candidates, the cheapest first."""
        if step == "int8":
            yield self._candidate(step, self.context.int8(self.context.integer_graph, self.context.calibration()))
        elif step == "calibration":
            yield self._candidate(step, self._better())
        elif step == "selective":
            yield from self._selective()
        elif step == "float16":
            yield self._candidate(step, convert.convert(self.context.graph, "float16"), "float16")
        else:
            yield self._candidate(step, self._trained(step))

    def _candidate(self, name: str, content: bytes, encoding: str = "int8") -> Candidate:
        details = dict(self.context.details)
        return Candidate(name=name, encoding=details.pop("encoding", encoding), content=content, details=details)

    def _selective(self) -> Iterator[Candidate]:
        few = {name: values[:EXPLAINED] for name, values in self._inputs.items()}
        errors = explain.layer_errors(self._better(), self.context.exact(), few)
        for share in KEPT:
            worst = explain.worst(errors, max(1, round(share * len(errors))))
            kept = sorted(error.number for error in worst)
            self.context.details["kept_float"] = kept
            calibrated = self._calibrated()
            content = int8.quantize(calibrated, keep_float=sorted({*kept, *self.context.front(calibrated)}))
            yield self._candidate(f"selective, {len(kept)} of {len(errors)} operators in float16", content, "mixed")

    def _calibrated(self) -> bytes:
        return self._once("calibrated", lambda: int8.with_best_ranges(
            int8.calibrate(self.context.integer_graph, self._calibration, apart=self.context.data.real_inputs),
            self._inputs))

    def _better(self) -> bytes:
        return self._once("better", lambda: bias_correction.corrected(
            int8.quantize(self._calibrated(), keep_float=self.context.front(self._calibrated())),
            self.context.exact(), self._inputs))

    @functools.cached_property
    def _calibration(self) -> list[tuple[str, Arrays]]:
        return self.context.calibration(self.requested)

    @property
    def _inputs(self) -> Arrays:
        return default_inputs(self._calibration)

    def _once(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return what `make` gives, out of the variant's folder where it is there from another step or before an
        interruption."""
        assert self._calibration  # drawn in any case: its digest is part of the record
        path = self.context.folder / f"{name}.tflite"
        if not path.exists():
            content = make()
            with whole(path) as beside:
                beside.write_bytes(content)
        return path.read_bytes()

    def _trained(self, step: Step) -> bytes:
        learning = self.settings.learning
        distill = (learning.distill or Distillation()) if step == "qat_distilled" else None
        training = Qat(epochs=learning.epochs, rate=learning.rate, distill=distill)
        return aware_content(self.context, self.context.load(), training, calibration=self.requested, part=step)
