"""The variant that finds itself: a ladder of integer forms, from the cheapest up, until one loses little enough."""
from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from etils import epy
from pydantic import BaseModel, Field

from export.benchmark import latency
from export.conversion import bias_correction, convert, int8
from export.predictors import IMAGE, LOGITS, LiteRTPredictor, open_predictor
from export.tflite import explain
from pipelines.engine import workers
from pipelines.errors import StageError, UserError
from pipelines.tasks import image_classification as task
from pipelines.training.distillation import Distillation
from pipelines.variants.trained import Qat, aware_content
from pipelines.variants.variant import Calibration, Learning, Variant, VariantContext

with epy.lazy_imports():
    import numpy as np

StepName = Literal["int8", "calibration", "selective", "qat", "qat_distilled", "float16"]
STEPS: dict[str, str] = {
    "int8": "int8 as the converter makes it",
    "calibration": "more pictures, of all classes alike, ranges by least squares, biases corrected",
    "selective": "the operators that add most noise in float16",
    "qat": "trained with its rounding",
    "qat_distilled": "trained with its rounding, taught by the float model",
    "float16": "weights in float16"}
#: Examples that operators are compared on.
EXPLAINED = 64
#: The largest drop that passes where neither the variant nor a gate says another.
DROP = 0.005
#: Shares of the operators that the selective rung keeps in float16, one after the other.
KEPT = (0.05, 0.1, 0.2)


class Trial(BaseModel):
    """A rung that was tried.

    Args:
        rung: its name; selective says how many operators it kept.
        drop: of the main metric on the validation split, a fraction.
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
    """A file that a rung gave, by the rung's name and what sets it apart from others of it."""

    name: str
    encoding: str
    content: bytes
    details: dict[str, Any]


class Auto(Variant, name="auto", shorthand="drop"):
    """The cheapest of int8, better calibration, operators in float16, QAT, QAT with distillation and float16 that loses little enough.

    The drop is measured on the validation split, so that the test split stays unseen until the end. A rung that cannot be made is passed
    over.

    Args:
        drop: of the main metric, at most, a fraction; the recipe's gate on it where not given, or 0.005 where there is none.
        rungs: which forms to try, in this order.
        calibration: for the rungs after the first.
        learning: of the rungs that train.
    """

    learns, explained = True, True
    drop: float | None = Field(None, ge=0, lt=1)
    rungs: list[StepName] = Field(list(STEPS), min_length=1)  # type: ignore[arg-type]
    calibration: Calibration = Calibration(examples=1000, balanced=True)
    learning: Learning = Learning()

    @property
    def encoding(self) -> str:
        return "int8"

    @property
    def limit(self) -> float:
        """The largest drop that passes."""
        return DROP if self.drop is None else self.drop

    @property
    def summary(self) -> str:
        return f"the cheapest form that loses at most {self.limit:.2%}"

    def content(self, shop: VariantContext) -> bytes:
        scale, tried, skipped = _Evaluator(shop), list[Trial](), dict[str, str]()
        chosen: Candidate | None = None
        for rung in self.rungs:
            try:
                forms = workers.isolated(make_forms, self.written(), shop, rung, what=f"{self.title}, {rung}")
            except (StageError, UserError) as error:
                skipped[rung] = str(error)
                shop.journal.note(f"{self.title}: {rung} cannot be made: {error}")
                continue
            for chosen in forms:
                tried.append(scale.evaluate(chosen, self.limit))
                if tried[-1].passed:
                    break
            if tried[-1].passed:
                break
        if chosen is None:
            raise ValueError(f"no rung could be made: {'; '.join(skipped.values())}")
        kind = chosen.name.partition(",")[0]
        shop.details |= {**chosen.details, "encoding": chosen.encoding, "summary": f"{kind}: {STEPS[kind]}", "limit": self.limit,
                         "rungs": [one.model_dump() for one in tried], "skipped": skipped}
        return chosen.content

    def qat(self, distilled: bool) -> Qat:
        """The variant of a rung that trains."""
        learning = {**self.learning.model_dump(), "distill": self.learning.distill or Distillation() if distilled else None}
        return Qat.model_validate({**learning, "calibration": self.calibration})


def make_forms(written: dict[str, Any], shop: VariantContext, rung: StepName) -> list[Candidate]:
    """The files of a rung, the cheapest first. A process of its own makes them, so that a crash costs the rung and no more."""
    builder = _CandidateBuilder(Auto.read(written), shop)  # type: ignore[arg-type]
    try:
        return [Candidate(name=name, encoding=encoding, content=content, details=dict(shop.details))
                for name, content, encoding in getattr(builder, f"try_{rung}")()]
    except ValueError as error:
        raise StageError(" ".join(str(error).split())[:500]) from error


class _Evaluator:
    """Weighs forms: what each loses on the validation split, its bytes, and how fast it answers."""

    def __init__(self, shop: VariantContext):
        self.shop = shop
        self.images, self.labels = shop.validation()
        self.reference = self._metric(open_predictor(shop.model).predict({IMAGE: self.images})[LOGITS])

    def evaluate(self, form: Candidate, limit: float) -> Trial:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tried.tflite"
            path.write_bytes(form.content)
            predictor = LiteRTPredictor(path)
            drop = self.reference - self._metric(predictor.predict({IMAGE: self.images})[LOGITS])
            time = latency(predictor.prepared({IMAGE: self.images[:1]}), runs=50, threads=1).p50
        self.shop.journal.note(f"{form.name} drops {drop:.4f} of at most {limit}, {len(form.content):,} bytes, {time:.3f} ms")
        return Trial(rung=form.name, drop=round(drop, 6), bytes=len(form.content), latency_ms=time, passed=drop <= limit)

    def _metric(self, logits: np.ndarray) -> float:
        return task.measure(task.Answers(logits, self.labels), self.shop.index.classes).metrics[task.MAIN_METRIC]


class _CandidateBuilder:
    """Makes the forms of one model. What several rungs need is kept in the variant's folder."""

    def __init__(self, settings: Auto, shop: VariantContext):
        self.settings, self.shop = settings, shop

    def try_int8(self) -> Iterator[tuple[str, bytes, str]]:
        yield "int8", convert.convert(self.shop.graph, "int8", self.shop.pictures()), "int8"

    def try_calibration(self) -> Iterator[tuple[str, bytes, str]]:
        yield "calibration", self._better(), "int8"

    def try_selective(self) -> Iterator[tuple[str, bytes, str]]:
        errors = explain.layer_errors(self._better(), self.shop.exact(), self._pictures()[:EXPLAINED])
        for share in KEPT:
            kept = sorted(one.number for one in explain.worst(errors, max(1, round(share * len(errors)))))
            self.shop.details["kept_float"] = kept
            content = int8.quantize(self._calibrated(), keep_float=kept)
            yield f"selective, {len(kept)} of {len(errors)} operators in float16", content, "mixed"

    def try_qat(self) -> Iterator[tuple[str, bytes, str]]:
        yield "qat", self._trained("qat", False), "int8"

    def try_qat_distilled(self) -> Iterator[tuple[str, bytes, str]]:
        yield "qat_distilled", self._trained("qat_distilled", True), "int8"

    def try_float16(self) -> Iterator[tuple[str, bytes, str]]:
        yield "float16", convert.convert(self.shop.graph, "float16"), "float16"

    def _pictures(self) -> np.ndarray:
        return self.shop.pictures(self.settings.calibration)

    def _calibrated(self) -> bytes:
        return self._once("calibrated", lambda pictures: int8.with_best_ranges(int8.calibrate(self.shop.graph, pictures), pictures))

    def _better(self) -> bytes:
        return self._once("better", lambda pictures: bias_correction.corrected(
            int8.quantize(self._calibrated()), self.shop.exact(), pictures))

    def _once(self, name: str, make: Callable[[np.ndarray], bytes]) -> bytes:
        path = self.shop.folder / f"{name}.tflite"
        if not path.exists():
            content = make(self._pictures())
            beside = path.with_suffix(".part")
            beside.write_bytes(content)
            beside.rename(path)
        return path.read_bytes()

    def _trained(self, part: str, distilled: bool) -> bytes:
        return aware_content(self.shop, self.shop.load(), self.settings.qat(distilled), calibration=self.settings.calibration, part=part)
