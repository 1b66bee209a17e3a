"""The variant that finds itself: a ladder of integer forms, from the cheapest up, until one loses little enough."""
from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from etils import epy
from pydantic import BaseModel, Field

from export import bias_correction, explain, int8, litert, qat
from export.benchmark import latency
from export.predictors import IMAGE, LiteRTPredictor, open_predictor
from pipelines.compressing.trained import Qat
from pipelines.compressing.variant import Calibration, Learning, Variant, Workshop
from pipelines.tasks import image_classification as task
from pipelines.training.distillation import Lesson

with epy.lazy_imports():
    import numpy as np

Rung = Literal["int8", "calibration", "selective", "qat", "qat_distilled", "float16"]
RUNGS: dict[str, str] = {
    "int8": "int8 as the converter makes it",
    "calibration": "more pictures, of all classes alike, ranges by least squares, biases corrected",
    "selective": "the operators that add most noise in float16",
    "qat": "trained with its rounding",
    "qat_distilled": "trained with its rounding, taught by the float model",
    "float16": "weights in float16"}
#: Examples that operators are compared on.
EXPLAINED = 64
#: Shares of the operators that the selective rung keeps in float16, one after the other.
KEPT = (0.05, 0.1, 0.2)


class Tried(BaseModel):
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


class Auto(Variant, name="auto", shorthand="drop"):
    """The cheapest of int8, better calibration, operators in float16, QAT, QAT with distillation and float16 that loses little enough.

    The drop is measured on the validation split, so that the test split stays unseen until the end.

    Args:
        drop: of the main metric, at most; a fraction.
        rungs: which forms to try, in this order.
        calibration: for the rungs after the first.
        learning: of the rungs that train.
    """

    learns, explained = True, True
    drop: float = Field(0.005, ge=0, lt=1)
    rungs: list[Rung] = Field(list(RUNGS), min_length=1)  # type: ignore[arg-type]
    calibration: Calibration = Calibration(examples=1000, balanced=True)
    learning: Learning = Learning()

    @property
    def encoding(self) -> str:
        return "int8"

    @property
    def summary(self) -> str:
        return f"the cheapest form that loses at most {self.drop:.2%}"

    def content(self, shop: Workshop) -> bytes:
        ladder = _Ladder(self, shop)
        content, encoding = b"", ""
        for rung in self.rungs:
            for name, content, encoding in getattr(ladder, f"try_{rung}")():
                tried = ladder.measure(name, content)
                if tried.passed:
                    return ladder.end(tried, content, encoding)
        return ladder.end(ladder.tried[-1], content, encoding)

    def qat(self, distilled: bool) -> Qat:
        """The variant of a rung that trains."""
        learning = {**self.learning.model_dump(), "distill": self.learning.distill or Lesson() if distilled else None}
        return Qat.model_validate({**learning, "calibration": self.calibration})


class _Ladder:
    """The climb of one model. What several rungs need is made once."""

    def __init__(self, settings: Auto, shop: Workshop):
        self.settings, self.shop = settings, shop
        self.tried: list[Tried] = []
        self.images, self.labels = shop.validation()
        reference = open_predictor(shop.model).predict({IMAGE: self.images})["logits"]
        self.reference = self._metric(reference)
        self._made: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def pictures(self) -> np.ndarray:
        return self.once("pictures", lambda: self.shop.pictures(self.settings.calibration))

    def calibrated(self) -> bytes:
        return self.once("calibrated", lambda: int8.with_best_ranges(int8.calibrate(self.shop.graph, self.pictures()), self.pictures()))

    def exact(self) -> bytes:
        return self.once("float32", self.shop.exact)

    def try_int8(self) -> Iterator[tuple[str, bytes, str]]:
        yield "int8", litert.convert(self.shop.graph, "int8", self.shop.pictures()), "int8"

    def try_calibration(self) -> Iterator[tuple[str, bytes, str]]:
        yield "calibration", self.better(), "int8"

    def better(self) -> bytes:
        return self.once("better", lambda: bias_correction.corrected(int8.quantize(self.calibrated()), self.exact(), self.pictures()))

    def try_selective(self) -> Iterator[tuple[str, bytes, str]]:
        errors = explain.layer_errors(self.better(), self.exact(), self.pictures()[:EXPLAINED])
        for share in KEPT:
            kept = sorted(one.number for one in explain.worst(errors, max(1, round(share * len(errors)))))
            content = int8.quantize(self.calibrated(), keep_float=kept)
            self.shop.details["kept_float"] = kept
            yield f"selective, {len(kept)} of {len(errors)} operators in float16", content, "mixed"

    def try_qat(self) -> Iterator[tuple[str, bytes, str]]:
        yield "qat", self._trained("qat", False), "int8"

    def try_qat_distilled(self) -> Iterator[tuple[str, bytes, str]]:
        yield "qat_distilled", self._trained("qat_distilled", True), "int8"

    def try_float16(self) -> Iterator[tuple[str, bytes, str]]:
        yield "float16", litert.convert(self.shop.graph, "float16"), "float16"

    def _trained(self, part: str, distilled: bool) -> bytes:
        aware, variant = qat.prepare(self.shop.load()), self.settings.qat(distilled)
        self.shop.fit(aware, variant, part)
        graph = self.shop.folder / f"{part}_graph"
        qat.float_graph(aware, graph)
        return litert.convert(graph, "int8", self.pictures())

    def measure(self, name: str, content: bytes) -> Tried:
        """What a form costs; kept for the report."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tried.tflite"
            path.write_bytes(content)
            predictor = LiteRTPredictor(path)
            drop = self.reference - self._metric(predictor.predict({IMAGE: self.images})["logits"])
            time = latency(predictor.prepared({IMAGE: self.images[:1]}), runs=50, threads=1).p50
        tried = Tried(rung=name, drop=round(drop, 6), bytes=len(content), latency_ms=time, passed=drop <= self.settings.drop)
        self.tried.append(tried)
        self.shop.journal.note(f"auto: {name} drops {drop:.4f} of at most {self.settings.drop}, {len(content):,} bytes, {time:.3f} ms")
        return tried

    def end(self, chosen: Tried, content: bytes, encoding: str) -> bytes:
        details = self.shop.details
        details |= {"limit": self.settings.drop, "rungs": [one.model_dump() for one in self.tried], "encoding": encoding,
                    "summary": f"{chosen.rung.partition(',')[0]}: {RUNGS[chosen.rung.partition(',')[0]]}"}
        if encoding != "mixed":
            details.pop("kept_float", None)
        return content

    def _metric(self, logits: np.ndarray) -> float:
        return task.measure(task.Answers(logits, self.labels), self.shop.index.classes).metrics[task.MAIN_METRIC]
