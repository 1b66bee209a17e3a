"""Gates: thresholds of the recipe that a model must pass to be shipped."""
from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from pydantic import BaseModel

from pipelines.entries import nearest

#: A comparison with the same value of another model, see `Task.baselines`.
BESIDE = re.compile(r"^\s*(>=|<=|>|<)\s*([a-z][a-z0-9_]*)\s*$")
LIMIT = re.compile(r"^\s*(>=|<=|>|<)\s*([0-9.eE+-]+)\s*$")
#: What a gate can ask of every artifact.
SIZES = ("bytes", "zipped_bytes", "size_ratio", "zipped_ratio")
#: What a gate can ask of an artifact that runs here, beside the task's metrics.
MEASURED = ("drop", "latency_ms", "max_error", "agreement", "real_time_factor")


class Gate(BaseModel):
    """A gate that was checked: `value` against `limit`. It has no value, and is missed, where its artifact could not be
    made."""

    name: str
    value: float | None
    limit: str
    passed: bool

    @property
    def shown(self) -> str:
        """Return the value, for people."""
        return "not made" if self.value is None else f"{self.value:.4g}"

    def __str__(self) -> str:
        limit = self.limit.replace(">=", "≥").replace("<=", "≤")
        return f"{self.name} {self.shown} {limit} {'✓' if self.passed else '✗'}"


def parse_limit(text: str, baselines: Collection[str] = ()) -> tuple[str, float | str]:
    """Return the comparison and the number in ``">= 0.985"``, or the name of another model. Raises ValueError.

    Args:
        baselines: the other models that there are.
    """
    match = LIMIT.match(str(text))
    if not match:
        if (beside := BESIDE.match(str(text))) and baselines:
            if beside[2] in baselines:
                return beside[1], beside[2]
            raise ValueError(f"is {text!r}; give a number, or one of {', '.join(baselines)}")
        raise ValueError(f'is {text!r}; give a comparison and a number, for instance ">= 0.985" or "<= 0.005"')
    return match[1], float(match[2])


def values_of(runs: bool, metrics: Iterable[str], estimates: Iterable[str]) -> tuple[str, ...]:
    """Return what a gate can ask of an artifact, by whether it runs on this machine, and what its compiler says of
    it."""
    return (*metrics, *MEASURED, *SIZES, *estimates) if runs else (*estimates, *SIZES)


def check_name(name: str, metrics: Iterable[str], artifacts: Mapping[str, Iterable[str]]) -> None:
    """Raise ValueError where no value of a run is called `name`.

    Args:
        metrics: of the trained model.
        artifacts: name to what can be asked of it.
    """
    metrics = list(metrics)
    supported = metrics + [f"{artifact}.{value}" for artifact, values in artifacts.items() for value in values]
    if name not in supported:
        near = nearest(name, supported)
        values = artifacts.get(name.partition(".")[0])
        if near:
            hint = f"Did you mean {near}?"
        elif values:
            hint = f"Known: {', '.join(values)}."
        else:
            values = (*metrics, *MEASURED, *SIZES)
            hint = f"Known: {', '.join(metrics)}, and <artifact>.<value> with {', '.join(values)}."
        raise ValueError(f"no value of this run is called {name}. {hint}")


def check(gates: Mapping[str, str], values: Mapping[str, float], failed: Collection[str] = (),
          baselines: Mapping[str, Mapping[str, float]] = MappingProxyType({})) -> list[Gate]:
    """Return the gates whose values are known, each against its limit, and those of what failed; in the recipe's order.
    What another model does not have is no limit that can be kept.

    Args:
        failed: artifacts that could not be made, and values that could not be measured.
        baselines: the metrics of other models, by their names.
    """
    checked = []
    for name, limit in gates.items():
        if name in values:
            comparison, bound = parse_limit(limit, baselines)
            value = values[name]
            if isinstance(bound, str):
                other, metric = bound, name.rpartition(".")[2]
                if metric not in baselines[other]:
                    checked.append(Gate(name=name, value=value, limit=f"{limit}, which has no {metric}", passed=False))
                    continue
                bound = baselines[other][metric]
                limit = f"{comparison} {bound:.4g} ({other})"
            passed = {">=": value >= bound, "<=": value <= bound, ">": value > bound, "<": value < bound}[comparison]
            checked.append(Gate(name=name, value=value, limit=limit, passed=passed))
        elif name in failed or name.partition(".")[0] in failed:
            checked.append(Gate(name=name, value=None, limit=limit, passed=False))
    return checked
