"""Dynamic batching: requests that come together run together, with TF Serving's parameters
(session_bundle_config.proto).

Requests for the same signature and outputs, whose inputs have the same types and row shapes, wait in one queue. A batch
is made of it as soon as a batch thread is free and the queue holds `max_batch_size` rows or its oldest request has
waited `batch_timeout_micros`.
"""
from __future__ import annotations

import asyncio
import bisect
import collections
import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from serving.errors import StartError, failed_precondition, invalid, unavailable

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Parameters:
    """TF Serving's parameters and their defaults; sizes in rows, times in microseconds."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0

    @classmethod
    def of(cls, message: Any, where: str) -> Parameters:
        """From a BatchingParameters message. Raises StartError where a value is not possible."""
        received: dict[str, Any] = {}
        for field, value in message.ListFields():
            if field.name in {own.name for own in dataclasses.fields(cls)}:
                received[field.name] = tuple(value) if field.name == "allowed_batch_sizes" else getattr(value, "value",
                                                                                                     value)
        made = cls(**received)
        for name, least in (("max_batch_size", 1), ("batch_timeout_micros", 0), ("max_enqueued_batches", 1),
                            ("num_batch_threads", 1)):
            if getattr(made, name) < least:
                raise StartError(f"{where}: {name} must be at least {least}; was {getattr(made, name)}")
        sizes = made.allowed_batch_sizes
        if list(sizes) != sorted(set(sizes)) or (sizes and sizes[0] < 1):
            raise StartError(f"{where}: allowed_batch_sizes entries must be in increasing order; they are "
                             f"{', '.join(map(str, sizes))}")
        if sizes and sizes[-1] != made.largest:
            raise StartError(f"{where}: last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                             f"{sizes[-1]}, expected "
                             f"{made.largest}")
        return made

    @property
    def largest(self) -> int:
        """Rows that run together at most."""
        return (self.max_execution_batch_size
                or self.max_batch_size) if self.enable_large_batch_splitting else self.max_batch_size

    def padded(self, rows: int) -> int:
        """Rows that run for so many asked."""
        place = bisect.bisect_left(self.allowed_batch_sizes, rows)
        return self.allowed_batch_sizes[place] if place < len(self.allowed_batch_sizes) else rows


@dataclasses.dataclass(eq=False)
class _Task:
    inputs: Arrays
    rows: int
    done: asyncio.Future
    since: float


@dataclasses.dataclass(eq=False)
class _Queue:
    run: Run
    tasks: collections.deque[_Task] = dataclasses.field(default_factory=collections.deque)
    rows: int = 0


class Batcher:
    """Gathers requests into batches. All methods but the runs themselves are of one event loop.

    Args:
        parameters: sizes and times.
        observe: told the rows of each batch, those among them that pad it, and how long its oldest request waited, in
            seconds.
    """

    def __init__(self, parameters: Parameters, observe: Callable[[int, int, float], None] = lambda *_: None):
        self.parameters, self._observe = parameters, observe
        self._queues: dict[Any, _Queue] = {}
        self._threads = ThreadPoolExecutor(parameters.num_batch_threads, "batch")
        self._busy = 0
        self._running: set[asyncio.Future] = set()
        self._timer: asyncio.Handle | None = None
        self._wakes = 0.0

    @property
    def waiting(self) -> int:
        """Requests in queues."""
        return sum(len(queue.tasks) for queue in self._queues.values())

    async def submit(self, key: Any, inputs: Arrays, run: Run) -> dict[str, np.ndarray]:
        """Return the outputs for inputs, their first axis counting rows, run together with others of the same key.

        Args:
            key: of the servable, the signature and the outputs.
            run: from stacked inputs to outputs; called in a thread.

        Raises:
            ServingError: INVALID_ARGUMENT for inputs that cannot be stacked, UNAVAILABLE where the queue is full.
        """
        if any(not value.ndim for value in inputs.values()):
            raise invalid("Batching Run() input tensors must have at least one dimension.")
        sizes = {len(value) for value in inputs.values()}
        if len(sizes) != 1:
            raise invalid("Batching Run() input tensors must have equal 0th-dimension size.")
        rows, most = sizes.pop(), self.parameters.largest
        if not rows:
            raise invalid("Batching Run() input tensors must have at least one row.")
        if rows > most:
            if not self.parameters.enable_large_batch_splitting:
                raise invalid(f"Task size {rows} is larger than maximum input batch size {most}")
            parts = [{name: value[start:start + most] for name, value in inputs.items()}
                     for start in range(0, rows, most)]
            answers = await asyncio.gather(*(self.submit(key, part, run) for part in parts))
            return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
        alike = tuple((name, value.dtype.str,
                       value.ndim if self.parameters.pad_variable_length_inputs else value.shape[1:])
                      for name, value in sorted(inputs.items()))
        queue = self._queues.setdefault((key, alike), _Queue(run))
        if queue.rows + rows > self.parameters.max_enqueued_batches * most:
            raise unavailable("The batch scheduling queue to which this task was submitted is full")
        task = _Task(inputs, rows, asyncio.get_running_loop().create_future(), time.monotonic())
        queue.tasks.append(task)
        queue.rows += rows
        self._dispatch()
        try:
            return await task.done
        finally:
            if task in queue.tasks:  # the client went away
                queue.tasks.remove(task)
                queue.rows -= rows

    def _dispatch(self) -> None:
        timeout = self.parameters.batch_timeout_micros / 1e6
        for key, queue in sorted(self._queues.items(),
                                 key=lambda item: item[1].tasks[0].since if item[1].tasks else 0.0):
            while queue.tasks and self._busy < self.parameters.num_batch_threads:
                due = queue.tasks[0].since + timeout - time.monotonic()
                if queue.rows < self.parameters.largest and due > 0:
                    self._again(due)
                    break
                self._go(queue)
            if not queue.tasks:
                del self._queues[key]

    def _again(self, seconds: float) -> None:
        """Dispatch when so many seconds have passed, by the one timer that there is."""
        at = time.monotonic() + seconds
        if self._timer is not None:
            if self._wakes <= at:
                return
            self._timer.cancel()

        def now() -> None:
            self._timer = None
            self._dispatch()

        self._timer, self._wakes = asyncio.get_running_loop().call_later(seconds, now), at

    def _go(self, queue: _Queue) -> None:
        batch: list[_Task] = []
        rows = 0
        while queue.tasks and rows + queue.tasks[0].rows <= self.parameters.largest:
            batch.append(queue.tasks.popleft())
            rows += batch[-1].rows
        queue.rows -= rows
        self._busy += 1
        self._observe(self.parameters.padded(rows), self.parameters.padded(rows) - rows,
                      time.monotonic() - batch[0].since)
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._run, queue.run, batch,
                                                             self.parameters.padded(rows))
        self._running.add(running)
        running.add_done_callback(lambda done: self._ended(done, batch))

    def _ended(self, done: asyncio.Future, batch: Sequence[_Task]) -> None:
        self._busy -= 1
        self._running.discard(done)
        error = done.exception() if not done.cancelled() else unavailable("The server is going down")
        for task, answer in zip(batch, [None] * len(batch) if error else done.result(), strict=True):
            if task.done.done():
                continue
            if error:
                task.done.set_exception(error)
            else:
                task.done.set_result(answer)
        self._dispatch()

    def _run(self, run: Run, batch: Sequence[_Task], rows: int) -> list[dict[str, np.ndarray]]:
        received = sum(task.rows for task in batch)
        stacked = {name: self._stacked([task.inputs[name] for task in batch], rows - received)
                   for name in batch[0].inputs}
        outputs = run(stacked)
        for name, value in outputs.items():
            if not value.ndim or len(value) != rows:
                raise failed_precondition(f"Batched output tensor {name} has {len(value) if value.ndim else 'no'} "
                                          "rows, its batch has "
                                          f"{rows}: this signature cannot be batched")
        answers, start = [], 0
        for task in batch:
            answers.append({name: value[start:start + task.rows] for name, value in outputs.items()})
            start += task.rows
        return answers

    def _stacked(self, values: list[np.ndarray], more: int) -> np.ndarray:
        if self.parameters.pad_variable_length_inputs and len({value.shape[1:] for value in values}) > 1:
            longest = np.max([value.shape[1:] for value in values], axis=0)
            values = [np.pad(value, [(0, 0),
                                     *((0, size - own) for own, size in zip(value.shape[1:], longest, strict=True))],
                             constant_values=b"" if value.dtype == object else 0) for value in values]
        if more:
            values = [*values, np.repeat(values[-1][-1:], more, axis=0)]
        return values[0] if len(values) == 1 else np.concatenate(values)

    async def close(self) -> None:
        """Wait for the batches in flight."""
        if self._running:
            await asyncio.wait(self._running)
        self._threads.shutdown(wait=False)

