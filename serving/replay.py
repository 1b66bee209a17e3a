"""Recorded requests, sent again: to two versions, and their answers side by side."""
from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from serving import request_log, tensors
from serving.client import Access, GrpcClient
from serving.errors import ServingError
from serving.servable import DEFAULT


class Difference(BaseModel):
    """An output of one version against the other's.

    Args:
        largest, mean: of the absolute difference of its numbers.
        same_top: share of rows whose largest value is at the same position, where an output is (rows, classes).
        same: share of rows that are the same, within 1e-5 of the largest value.
    """

    name: str
    rows: int
    largest: float
    mean: float
    same_top: float | None
    same: float


class Replayed(BaseModel):
    """The outcome of a replay; latencies are milliseconds, p50."""

    requests: int
    errors: dict[str, list[str]]
    latency: dict[str, float]
    outputs: list[Difference]


def records(paths: list[Path]) -> Iterator[Any]:
    """Yield the PredictionLog messages of several files. Raises ValueError where a file is not such a log."""
    for path in paths:
        yield from request_log.read(path)


def replay(paths: list[Path], old: Access, new: Access, limit: int) -> Replayed:
    """Send the Predict requests of logs to two versions.

    Args:
        old, new: the versions; the signature and inputs are those recorded.
        limit: requests at most.

    Raises:
        ValueError: a log is broken, or holds no Predict request.
    """
    errors: dict[str, list[str]] = {"old": [], "new": []}
    times: dict[str, list[float]] = {"old": [], "new": []}
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    count = 0
    with GrpcClient(old) as old_client, GrpcClient(new) as new_client:
        for request in itertools.islice(_predict_requests(paths), limit):
            count += 1
            answers = {}
            for side, client in (("old", old_client), ("new", new_client)):
                start = time.perf_counter()
                try:
                    answers[side] = _ask(client, request)
                    times[side].append(time.perf_counter() - start)
                except ServingError as error:
                    errors[side].append(str(error))
            if len(answers) == 2:
                for name in sorted(set(answers["old"]) & set(answers["new"])):
                    pairs.setdefault(name, []).append((answers["old"][name], answers["new"][name]))
    if not count:
        raise ValueError("there is no Predict request in the log")
    latency = {side: statistics.median(values) * 1e3 for side, values in times.items() if values}
    return Replayed(requests=count, errors=errors, latency=latency,
                    outputs=[_difference(name, answered) for name, answered in pairs.items()])


def _predict_requests(paths: list[Path]) -> Iterator[Any]:
    for record in records(paths):
        if record.WhichOneof("log_type") == "predict_log":
            yield record.predict_log.request


def _ask(client: GrpcClient, request: Any) -> dict[str, np.ndarray]:
    """Return a version's answer to a recorded request."""
    inputs = {name: tensors.to_array(value, name) for name, value in request.inputs.items()}
    signature = request.model_spec.signature_name or DEFAULT
    return client.ask(inputs, tuple(request.output_filter), signature=signature)


def _difference(name: str, answers: list[tuple[np.ndarray, np.ndarray]]) -> Difference:
    """Return how far an output of one version is from the other's, over all requests; each answer is a batch of
    rows."""
    old, new = (np.concatenate([np.atleast_1d(pair[side]) for pair in answers]) for side in (0, 1))
    rows = len(old)
    if old.shape != new.shape:
        return Difference(name=name, rows=rows, largest=float("inf"), mean=float("inf"), same_top=None, same=0.0)
    if old.dtype == object:
        equal = (old == new).reshape(rows, -1).all(axis=1)
        return Difference(name=name, rows=rows, largest=float((~equal).any()), mean=float((~equal).mean()),
                          same_top=None,
                          same=float(equal.mean()))
    old, new = old.astype(np.float64), new.astype(np.float64)
    off = np.abs(old - new).reshape(rows, -1)
    near = off.max(axis=1) <= 1e-5 * max(1.0, float(np.abs(old).max()))
    classes = old.ndim == 2 and old.shape[1] > 1
    top = float((old.argmax(axis=1) == new.argmax(axis=1)).mean()) if classes else None
    return Difference(name=name, rows=rows, largest=float(off.max()), mean=float(off.mean()), same_top=top,
                      same=float(near.mean()))
