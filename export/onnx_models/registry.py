"""The operators that are read, by the names that ONNX gives them."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

#: Operator to the function that makes it: of a node and its inputs, `Value` each, to an output or several.
OPERATORS: dict[str, Callable[..., Any]] = {}


@dataclasses.dataclass(frozen=True)
class Node:
    """An operator in a graph.

    Args:
        kind: the operator's name.
        attributes: its settings, by name.
        outputs: their names; "" where one is not used.
        opset: version of the operators that the file was written with.
    """

    kind: str
    attributes: Mapping[str, Any]
    outputs: tuple[str, ...]
    opset: int

    def get(self, name: str, default: Any = None) -> Any:
        """Return a setting, or what it is where it is not given."""
        return self.attributes.get(name, default)


def operator(*kinds: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that registers what makes operators."""
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for kind in kinds:
            OPERATORS[kind] = function
        return function
    return add
