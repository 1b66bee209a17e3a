"""How long an artifact takes to answer."""
from __future__ import annotations

from pydantic import BaseModel


class Milliseconds(BaseModel):
    """Latency of one inference.

    Args:
        answered: median of a whole answer, where the driver has work behind the file: decoding and suppressing boxes,
            or asking it step by step.
        calls: of the file in an answer, where it is asked step by step.
        step_ms: of one of these calls.
        memory_bytes: of the tensors between its operators then, of a TFLite file.
        real_time_factor: share of the time that what is asked lasts, where that is known; below 1 it keeps up.
        why: of an integer file that gains little over float32, the reason.
    """

    p50: float
    p95: float
    threads: int
    runs: int
    answered: float | None = None
    calls: int | None = None
    step_ms: float | None = None
    memory_bytes: int | None = None
    real_time_factor: float | None = None
    why: str = ""

    @property
    def in_steps(self) -> list[str]:
        """Return how many steps an answer takes, and the memory of one, in words; nothing where it is asked once."""
        if self.calls is None:
            return []
        memory = "" if self.memory_bytes is None else f", {self.memory_bytes / 1e6:.2f} MB"
        return [f"{self.calls} steps an answer{memory}"]
