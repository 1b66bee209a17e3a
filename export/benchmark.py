"""How fast an artifact answers on this machine."""
from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from etils import epy

with epy.lazy_imports():
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Latency:
    """Milliseconds of one inference on one example."""

    p50: float
    p95: float
    runs: int
    threads: int


def latency(run: Callable[[], object], *, runs: int, threads: int) -> Latency:
    """Time `run` after a warm-up of a fifth as many runs, at least 10.

    Args:
        run: one inference, its input in place.
        threads: how many it uses; for the record.
    """
    for _ in range(max(10, runs // 5)):
        run()
    times = []
    for _ in range(runs):
        started = time.perf_counter_ns()
        run()
        times.append((time.perf_counter_ns() - started) / 1e6)
    p50, p95 = (round(float(value), 4) for value in np.percentile(times, (50, 95)))
    return Latency(p50, p95, runs, threads)
