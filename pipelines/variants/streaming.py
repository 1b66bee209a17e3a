"""The variant of a model of sequences that an app asks a few steps at a time, as they come."""
from __future__ import annotations

import shutil
from typing import Literal

from etils import epy
from pydantic import Field, model_validator

from export.conversion import convert, int8
from export.conversion.streaming import Streaming as StreamingModel
from export.conversion.streaming import streaming
from export.keras_models import graph
from export.predictors.litert import LiteRTPredictor
from export.predictors.streamed import StreamedPredictor
from export.signature import Arrays
from pipelines.engine.store import whole
from pipelines.variants.settings import Calibration
from pipelines.variants.variant import Variant, VariantContext

with epy.lazy_imports():
    import numpy as np

#: Calls that integer ranges are found with, at most.
CALLS = 2000


class Streaming(Variant, name="streaming", shorthand="chunk"):
    """What the model remembers goes in with some steps of a sequence, and out with the answer; LSTM, GRU and SimpleRNN,
    and causal convolutions. A bare number means `chunk`.

    Args:
        chunk: steps of each call.
        encode: how its numbers are written.
        step_seconds: how long a step of the sequence lasts, for `real_time_factor`: the share of that time which a call
            takes on one core.
        calibration: the sequences that ranges are found with; those of compress.calibration where not given.
    """

    streams = True
    chunk: int = Field(1, ge=1)
    encode: Literal["float32", "float16", "dynamic", "int8", "int16x8"] = "float32"
    step_seconds: float | None = Field(None, gt=0)
    calibration: Calibration | None = None

    @model_validator(mode="after")
    def check_calibration(self) -> Streaming:
        if self.calibration is not None and self.encode not in ("int8", "int16x8"):
            raise ValueError(f"calibration is for int8 and int16x8, and encode is {self.encode}")
        return self

    @property
    def encoding(self) -> str:
        return self.encode

    @property
    def summary(self) -> str:
        steps = "a step" if self.chunk == 1 else f"{self.chunk} steps"
        return f"asked {steps} at a time, what it remembers goes in and out; {super().summary}"

    @property
    def seconds(self) -> float | None:
        """Return how long the steps of a call last; None where that is not known."""
        return None if self.step_seconds is None else self.chunk * self.step_seconds

    def content(self, context: VariantContext) -> bytes:
        context.details["streaming"] = {"chunk": self.chunk, "seconds": self.seconds}
        made = streaming(context.load(), self.chunk)
        folder = context.folder / "streaming"
        shutil.rmtree(folder, ignore_errors=True)
        convert.float_graph(made.model, lambda written: [graph.function(written, made.signature)], folder)
        if self.encode not in ("int8", "int16x8"):
            return convert.convert(folder, self.encode)
        exact = context.folder / "streaming.tflite"
        with whole(exact) as beside:
            beside.write_bytes(convert.convert(folder, "float32"))
        calls = self._calls(StreamedPredictor(LiteRTPredictor(exact)), context, made)
        calibration = [(made.signature.name, calls)]
        if self.encode == "int16x8":
            return convert.convert(folder, "int16x8", calibration)
        # what is added up in a cell is added in place, and its range would be taken for that of an addend
        calibrated = int8.calibrate(folder, calibration, apart=True)
        return int8.quantize(int8.with_one_range(calibrated, made.states))

    def _calls(self, streamed: StreamedPredictor, context: VariantContext, made: StreamingModel) -> Arrays:
        """Return inputs of calls, some of those that the calibration's sequences make."""
        sequences = context.inputs(self.calibration)
        calls = streamed.calls(sequences)
        count = len(next(iter(calls.values())))
        chosen = np.random.default_rng(context.data.seed).permutation(count)[:CALLS]
        return {name: values[np.sort(chosen)] for name, values in calls.items()}
