"""Recorded requests, sent again: to two versions, and their answers side by side."""
from __future__ import annotations

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


class Difference(BaseModel):
    """An output of one version against the other's.

    Args:
        largest, mean: of the absolute difference of its numbers.
        same_top: share of rows whose largest value is in the same place, for outputs (rows, classes); None for others.
        same: share of rows that are the same, within 1e-5 of the largest value.
    """

    name: str
    rows: int
    largest: float
    mean: float
    same_top: float | None
    same: float


class Replayed(BaseModel):
    """What a replay found; latencies are milliseconds, p50."""

    requests: int
    errors: dict[str, list[str]]
    latency: dict[str, float]
    outputs: list[Difference]


def records(paths: list[Path]) -> Iterator[Any]:
    """The PredictionLog messages of several files. Raises ValueError at a file that is none."""
    for path in paths:
        yield from request_log.read(path)


def replay(paths: list[Path], old: Access, new: Access, limit: int) -> Replayed:
    """Sends the Predict requests of logs to two versions.

    Args:
        old, new: the versions; the signature and inputs are those recorded.
        limit: requests at most.

    Raises:
        ValueError: a log is broken, or holds no Predict request.
    """
    import dataclasses

    errors: dict[str, list[str]] = {"old": [], "new": []}
    times: dict[str, list[float]] = {"old": [], "new": []}
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    count = 0
    clients: dict[tuple[str, str], GrpcClient] = {}
    for record in records(paths):
        if record.WhichOneof("log_type") != "predict_log" or count >= limit:
            continue
        count += 1
        request = record.predict_log.request
        inputs = {name: tensors.to_array(value, name) for name, value in request.inputs.items()}
        answers = {}
        for which, access in (("old", old), ("new", new)):
            signature = request.model_spec.signature_name or "serving_default"
            if (which, signature) not in clients:
                clients[which, signature] = GrpcClient(dataclasses.replace(access, signature=signature))
            start = time.perf_counter()
            try:
                answers[which] = clients[which, signature].ask(inputs, tuple(request.output_filter))
                times[which].append(time.perf_counter() - start)
            except ServingError as error:
                errors[which].append(str(error))
        if len(answers) == 2:
            for name in sorted(set(answers["old"]) & set(answers["new"])):
                pairs.setdefault(name, []).append((answers["old"][name], answers["new"][name]))
    for client in clients.values():
        client.close()
    if not count:
        raise ValueError("there is no Predict request in the log")
    return Replayed(requests=count, errors=errors, latency={which: statistics.median(values) * 1e3 for which, values in times.items()
                                                           if values},
                    outputs=[_difference(name, found) for name, found in pairs.items()])


def _difference(name: str, found: list[tuple[np.ndarray, np.ndarray]]) -> Difference:
    old, new = (np.concatenate([pair[side] if pair[side].ndim else pair[side][None] for pair in found]) for side in (0, 1))
    if old.shape != new.shape:
        return Difference(name=name, rows=len(old), largest=float("inf"), mean=float("inf"), same_top=None, same=0.0)
    if old.dtype == object:
        same = (old == new).reshape(len(old), -1).all(axis=1)
        return Difference(name=name, rows=len(old), largest=float((~same).any()), mean=float((~same).mean()), same_top=None,
                          same=float(same.mean()))
    away = np.abs(old.astype(np.float64) - new).reshape(len(old), -1)
    near = away.max(axis=1) <= 1e-5 * max(1.0, float(np.abs(old.astype(np.float64)).max()))
    top = float((old.argmax(1) == new.argmax(1)).mean()) if old.ndim == 2 and old.shape[1] > 1 else None
    return Difference(name=name, rows=len(old), largest=float(away.max()), mean=float(away.mean()), same_top=top, same=float(near.mean()))
