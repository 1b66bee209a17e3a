"""What a plan comes to on devices: whether it fits, how long it takes, what it costs, and what would change that."""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from pipelines.tools.accelerators import ACCELERATORS, Accelerator, here, named
from pipelines.tools.plan import Memory, Options, Plan, plan

UNITS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


class Outlook(BaseModel):
    """A plan on one kind of accelerator.

    Args:
        memory: bytes of a device; 0 where that is not known.
        fits: whether all that is planned for it fits; None where its memory is not known.
        hours, cost: of the recipe's training; None where its examples, or the price, are not known.
        optimal_hours, optimal_cost: of a training on as many tokens as Hoffmann et al. say; None of other tasks.
        most_tokens: that one device generates a second at most, one text at a time: all weights are read for each,
            float32; None where that is not known, or the model does not write.
        advice: what would make it fit.
    """

    accelerator: str
    memory: int
    fits: bool | None
    hours: float | None
    cost: float | None
    optimal_hours: float | None
    optimal_cost: float | None
    most_tokens: float | None
    advice: list[str] = []


class Planned(Plan):
    """A plan, and its outlook on accelerators.

    Args:
        utilization: share of the peak that the training reaches.
        price: of a device for an hour.
    """

    utilization: float
    price: float | None
    outlooks: list[Outlook]


def of_recipe(written: dict[str, Any], options: Options, accelerator: str | None, utilization: float,
              price: float | None) -> Planned:
    """Return what a recipe's training takes, and its outlook on one accelerator, or on this machine and all that are
    known. Raises UserError."""
    chosen = [named(accelerator)] if accelerator else [here(), *ACCELERATORS.values()]
    made = plan(written, options)
    return Planned(**made.model_dump(), utilization=utilization, price=price,
                   outlooks=[_outlook(made, one, utilization, price) for one in chosen])


def _outlook(made: Plan, accelerator: Accelerator, utilization: float, price: float | None) -> Outlook:
    def cost(hours: float | None) -> float | None:
        return None if hours is None or price is None else hours * made.devices * price

    hours = None if made.examples is None else made.hours(accelerator, utilization, made.examples)
    optimal = None if made.optimal_tokens is None else made.hours(
        accelerator, utilization, made.optimal_tokens / made.tokens)
    writes = accelerator.bandwidth and made.memory.cache
    return Outlook(
        accelerator=accelerator.name, memory=accelerator.memory, hours=hours, cost=cost(hours), optimal_hours=optimal,
        fits=made.memory.total <= accelerator.memory if accelerator.memory else None, optimal_cost=cost(optimal),
        most_tokens=accelerator.bandwidth / (4 * made.parameters) if writes else None,
        advice=advice(made, accelerator.memory))


def advice(made: Plan, memory: int) -> list[str]:
    """Return what would make a plan fit into so many bytes on a device, nothing where it does.

    Args:
        memory: 0 where it is not known.
    """
    if not memory or made.memory.total <= memory:
        return []
    result = []
    if (batch := _largest_batch(made.memory, made.per_device, memory) * made.devices):
        result.append(f"data.batch: {batch}")
    result += [f"{setting}, which takes {size(others.total)}" for setting, others in made.alternatives.items()
               if others.total <= memory]
    if result:
        return result
    room = memory - made.memory.of_batch / made.per_device
    if room <= 0:
        return [f"one example alone takes {size(made.memory.of_batch / made.per_device)}: a shorter "
                "data.tokens.length, or a device with more memory" if made.tokens else "smaller examples"]
    return [f"weights, gradients and the optimizer's state take {size(made.memory.state)}: they must be divided among "
            f"at least {math.ceil(made.memory.state / room)} such devices"]


def _largest_batch(memory: Memory, examples: int, room: int) -> int:
    """Return how many examples fit on a device, beside what does not grow with them."""
    return max(0, int((room - memory.state) // (memory.of_batch / examples)))


def lines(made: Planned) -> Iterator[str]:
    """Yield a plan for people, line by line."""
    memory = made.memory
    yield f"plan      {made.recipe}: {made.builder}, {made.parameters:,} parameters, by {made.counted}"
    if made.note:
        yield f"          {made.note}"
    unit, share = ("token", made.tokens) if made.tokens else ("example", 1)
    yield (f"compute   {count(made.forward / share)} operations for each {unit}, {count(made.trained / share)} to train"
           + (f"; {made.tokens:,} tokens an example" if made.tokens else ""))
    if made.examples is not None:
        what = f"{made.seen:,} tokens" if made.seen else f"{made.examples:,} examples"
        yield f"data      {what} in all epochs, {count(made.examples * made.trained)} operations"
    if made.optimal_tokens:
        yield (f"          {count(made.optimal_tokens)} tokens, 20 for each parameter, are best for the compute they "
               "take (Hoffmann et al. 2022)")
    yield (f"memory    {size(memory.total)} on a device, of {made.per_device:,} examples, {made.precision}: weights "
           f"{size(memory.weights)}, gradients {size(memory.gradients)}, optimizer {size(memory.optimizer)},")
    recomputed = f" ({size(memory.recomputed)} if computed again)" if memory.recomputed is not None else ""
    yield (f"          activations {size(memory.activations)}{recomputed}, batch {size(memory.batch)}, the largest "
           f"other tensor {size(memory.largest)}")
    if made.by_paper is not None:
        yield (f"          activations of fused kernels in 16 bits would be {size(made.by_paper)} (Korthikanti et al. "
               "2022)")
    if memory.cache:
        yield f"          keys and values of a text that is written: {size(memory.cache)}"
    yield (f"devices   {made.devices}, at {made.utilization:.0%} of the peak"
           + ("" if made.price is None else f", {made.price:,.2f} an hour each"))
    yield from _table(made)


def _table(made: Planned) -> Iterator[str]:
    titles = ["", "memory", "fits", "time", "cost", "time, optimal", "cost, optimal", "tokens/s, at most"]
    rows = [[one.accelerator, size(one.memory) if one.memory else "?", {True: "yes", False: "NO", None: "?"}[one.fits],
             duration(one.hours), money(one.cost), duration(one.optimal_hours), money(one.optimal_cost),
             "" if one.most_tokens is None else f"{one.most_tokens:,.0f}"] for one in made.outlooks]
    shown = [column for column in range(len(titles)) if column == 0 or any(row[column] for row in rows)]
    yield from _aligned([[row[column] for column in shown] for row in [titles, *rows]])
    for one in made.outlooks:
        if one.advice:
            yield f"{one.accelerator:<9} does not fit: {'; or '.join(one.advice)}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        yield f"          {first.strip():<{widths[0]}}  {'  '.join(others)}"


def count(number: float) -> str:
    """Return a number with three digits and a letter for thousands, millions …"""
    factor, letter = next(((factor, letter) for factor, letter in UNITS if number >= factor), (1.0, ""))
    return f"{number / factor:.3g} {letter}".strip()


def size(number: float) -> str:
    """Return bytes for people."""
    return f"{count(number)}B" if number >= 1e3 else f"{number:.0f} B"


def duration(hours: float | None) -> str:
    """Return hours for people: in seconds, minutes, hours, days or years."""
    if hours is None:
        return ""
    for unit, name in ((24 * 365, "years"), (24, "days"), (1, "h"), (1 / 60, "min")):
        if hours >= unit:
            return f"{hours / unit:,.1f} {name}"
    return f"{hours * 3600:.0f} s"


def money(amount: float | None) -> str:
    """Return an amount of any currency, in whole ones where it is large."""
    return "" if amount is None else f"{amount:,.0f}" if amount >= 100 else f"{amount:.2f}"
