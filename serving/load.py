"""Load on a server: an open loop that hides no waiting, and a closed loop with N clients.

In an open loop requests are due at times that do not depend on the answers, as those of independent users are; latency
counts from the time that a request was due, so that a server that stalls pays for every request that was due meanwhile
(G. Tene, "How not to measure latency":
coordinated omission).
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal

import aiohttp
import grpc
import grpc.aio
import numpy as np
from pydantic import BaseModel
from tensorflow_serving.apis import predict_pb2

from serving import tensors
from serving.client import Access, model_spec, plain

Protocol = Literal["grpc", "rest"]
#: Sends a request, by its number; returns the code of the answer, OK where it is one.
Ask = Callable[[int], Awaitable[str]]
#: Requests that may wait for an answer at a time; what is due beyond it counts as an error, so that an overload ends.
MOST_WAITING = 2000
_METHOD = "/tensorflow.serving.PredictionService/Predict"


class Step(BaseModel):
    """What one rate did. Latencies are milliseconds, from the time a request was due.

    Args:
        rate: requests a second that were due.
        seconds: for how long.
        answered: requests that were answered.
        throughput: answers a second, from the first request to the last answer.
        errors: gRPC's or HTTP's code to how often it came.
        late: the most that the generator itself was behind, in milliseconds: where it is large, this machine is the
            bottleneck.
    """

    rate: float
    seconds: float
    answered: int
    throughput: float
    p50: float
    p90: float
    p99: float
    p999: float
    most: float
    errors: dict[str, int]
    late: float

    @property
    def failed(self) -> int:
        """Return the requests without an answer."""
        return sum(self.errors.values())

    def keeps(self, objective: float) -> bool:
        """Return whether everything was answered, 99 of 100 within `objective` milliseconds."""
        return not self.failed and self.p99 <= objective


@contextlib.asynccontextmanager
async def asker(access: Access, protocol: Protocol, inputs: Sequence[dict[str, np.ndarray]]) -> AsyncIterator[Ask]:
    """Yield a coroutine function from a number to the code of the answer to that request, the inputs taken in turn.
    Requests are built before."""
    if protocol == "grpc":
        async with _grpc_asker(access, inputs) as ask:
            yield ask
    else:
        async with http_asker(f"{access.url}:predict", bodies(access, inputs), access.deadline) as ask:
            yield ask


def bodies(access: Access, inputs: Sequence[dict[str, np.ndarray]]) -> list[bytes]:
    """Return the bodies of REST requests, in columns."""
    return [json.dumps({"signature_name": access.signature,
                        "inputs": {name: plain(value) for name, value in one.items()}}).encode()
            for one in inputs]


@contextlib.asynccontextmanager
async def _grpc_asker(access: Access, inputs: Sequence[dict[str, np.ndarray]]) -> AsyncIterator[Ask]:
    messages = []
    for one in inputs:
        request = predict_pb2.PredictRequest(model_spec=model_spec(access, access.signature))
        for name, value in one.items():
            tensors.to_proto(value, request.inputs[name], packed=True)
        messages.append(request.SerializeToString())
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1),
               ("grpc.use_local_subchannel_pool", 1)]
    async with contextlib.AsyncExitStack() as stack:
        calls = []
        for _ in range(4):  # connections; one alone carries a hundred requests at a time
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(access.address, options))
            calls.append(channel.unary_unary(_METHOD))

        async def ask(number: int) -> str:
            try:
                await calls[number % len(calls)](messages[number % len(messages)], timeout=access.deadline)
                return "OK"
            except grpc.aio.AioRpcError as error:
                return error.code().name

        yield ask


@contextlib.asynccontextmanager
async def http_asker(url: str, contents: Sequence[bytes], deadline: float) -> AsyncIterator[Ask]:
    """Yield the same for any address that takes JSON."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0),
                                     timeout=aiohttp.ClientTimeout(total=deadline)) as session:
        async def ask(number: int) -> str:
            try:
                async with session.post(url, data=contents[number % len(contents)],
                                        headers={"Content-Type": "application/json"}) as answer:
                    await answer.read()
                    return "OK" if answer.status == 200 else str(answer.status)
            except TimeoutError:
                return "DEADLINE_EXCEEDED"
            except aiohttp.ClientError as error:
                return type(error).__name__

        yield ask


async def open_loop(ask: Ask, rate: float, seconds: float) -> Step:
    """Send requests at a rate, whatever the answers do.

    Args:
        rate: requests per second.
    """
    loop = asyncio.get_running_loop()
    count = max(1, round(rate * seconds))
    latencies: list[float] = []
    errors: Counter[str] = Counter()
    waiting: set[asyncio.Task] = set()
    late, start = 0.0, time.perf_counter()

    async def one(number: int, due: float) -> None:
        code = await ask(number)
        if code == "OK":
            latencies.append(time.perf_counter() - due)
        else:
            errors[code] += 1

    for number in range(count):
        due = start + number / rate
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        late = max(late, time.perf_counter() - due)
        if len(waiting) >= MOST_WAITING:
            errors["TOO_MANY_WAITING"] += 1
            await asyncio.sleep(0)
            continue
        task = loop.create_task(one(number, due))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
    if waiting:
        await asyncio.wait(waiting)
    return _step(rate, seconds, latencies, errors, late, time.perf_counter() - start)


async def closed_loop(ask: Ask, clients: int, seconds: float, warm: float = 1.0) -> Step:
    """Let clients ask, each as soon as it has its answer.

    Args:
        warm: seconds before the measurement.
    """
    latencies: list[float] = []
    errors: Counter[str] = Counter()
    begin = time.perf_counter() + warm
    end = begin + seconds

    async def one(client: int) -> None:
        number = client
        while (asked := time.perf_counter()) < end:
            code = await ask(number)
            number += clients
            if code != "OK":
                errors[code] += 1
                await asyncio.sleep(0.01)
            elif asked >= begin:
                latencies.append(time.perf_counter() - asked)

    await asyncio.gather(*(one(client) for client in range(clients)))
    return _step(0.0, seconds, latencies, errors, 0.0, time.perf_counter() - begin)


def _step(rate: float, seconds: float, latencies: list[float], errors: Counter[str], late: float, took: float) -> Step:
    values = np.array(latencies or [float("nan")]) * 1e3
    p50, p90, p99, p999 = np.percentile(values, [50, 90, 99, 99.9])
    return Step(rate=rate, seconds=seconds, answered=len(latencies), throughput=len(latencies) / took, p50=p50, p90=p90,
                p99=p99, p999=p999,
                most=float(values.max()), errors=dict(errors), late=late * 1e3)


def resident(pid: int | str = "self") -> float:
    """Return the memory that a process holds, MB, on Linux."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


async def highest_rate(measure: Callable[[float], Awaitable[Step]], objective: float,
                       first: float = 20.0) -> list[Step]:
    """Double the rate until it breaks the objective, then halve the gap four times; return every step that was taken,
    by its rate.

    Args:
        measure: sends requests at a rate.
        objective: milliseconds that 99 of 100 answers may take.
    """
    steps: list[Step] = []

    async def attempt(rate: float) -> bool:
        steps.append(await measure(rate))
        return steps[-1].keeps(objective)

    good, bad = 0.0, first
    while await attempt(bad):
        good, bad = bad, bad * 2
    for _ in range(4):
        middle = (good + bad) / 2
        if await attempt(middle):
            good = middle
        else:
            bad = middle
    return sorted(steps, key=lambda step: step.rate)
