"""The variant of a model of sequences that an app asks a few steps at a time, as they come."""
from __future__ import annotations

from pydantic import Field

from export.conversion.streaming import streaming
from pipelines.variants import stepwise
from pipelines.variants.encoded import Encoded
from pipelines.variants.variant import VariantContext


class Streaming(Encoded, name="streaming", shorthand="chunk"):
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
    step_seconds: float | None = Field(None, gt=0)

    @property
    def summary(self) -> str:
        steps = "a step" if self.chunk == 1 else f"{self.chunk} steps"
        return f"asked {steps} at a time, what it remembers goes in and out; {super().summary}"

    @property
    def seconds(self) -> float | None:
        """Return how long the steps of a call last; None where that is not known."""
        return None if self.step_seconds is None else self.chunk * self.step_seconds

    def content(self, context: VariantContext) -> bytes:
        model = context.load()
        steps = stepwise.steps(model)
        if steps is not None and steps % self.chunk:
            raise ValueError(f"chunk is {self.chunk}, and sequences of {steps} steps do not divide into such chunks")
        context.details["streaming"] = {"chunk": self.chunk, "seconds": self.seconds}
        return stepwise.written(context, streaming(model, self.chunk), self.encode, self.calibration)
