"""Groups of nodes that stand for one operator, which files for phones have."""
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from etils import epy

with epy.lazy_imports():
    import numpy as np
    import onnx


def with_gelu(graph: Any, constants: Mapping[str, np.ndarray]) -> list[Any]:
    """Return the nodes of a graph with x / 2 (1 + erf(x / √2)), as exporters write it, as one.

    See Hendrycks and Gimpel 2016, "Gaussian Error Linear Units".

    Args:
        constants: arrays of the file by name.
    """
    found = _Graph(graph, constants)
    replaced: dict[str, Any] = {}
    gone: set[int] = set()
    for node in graph.node:
        if node.op_type == "Erf":
            match = found.gelu(node)
            if match is not None:
                source, last, inner = match
                replaced[last.output[0]] = onnx.helper.make_node("Gelu", [source], [last.output[0]], name=last.name)
                gone |= {id(one) for one in inner}
    return [replaced.get(node.output[0], node) if len(node.output) == 1 else node for node in graph.node
            if id(node) not in gone]


class _Graph:
    """Who makes and who takes each tensor."""

    def __init__(self, graph: Any, constants: Mapping[str, np.ndarray]):
        self.nodes = list(graph.node)  # kept, so that each node is one object
        self.makers = {name: node for node in self.nodes for name in node.output}
        self.takers: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                self.takers.setdefault(name, []).append(node)
        self.ends = {value.name for value in graph.output}
        self.constants = dict(constants)
        for node in self.nodes:
            if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
                self.constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)

    def is_number(self, name: str, number: float) -> bool:
        array = self.constants.get(name)
        return array is not None and array.size == 1 and math.isclose(float(array.ravel()[0]), number, rel_tol=1e-3)

    def only_taker(self, name: str, kind: str) -> Any:
        takers = self.takers.get(name, [])
        return takers[0] if len(takers) == 1 and takers[0].op_type == kind and name not in self.ends else None

    def times(self, node: Any, number: float) -> str | None:
        """Return what a node multiplies with a number; None where it does not."""
        if node is None or node.op_type != "Mul":
            return None
        for factor, other in (node.input, reversed(node.input)):
            if self.is_number(factor, number):
                return other
        return None

    def gelu(self, erf: Any) -> tuple[str, Any, list[Any]] | None:
        """Return what goes in, the last node, and those before it; None where the nodes around an Erf are none."""
        scaled = self.makers.get(erf.input[0])
        if scaled is None:
            return None
        source = self.times(scaled, math.sqrt(0.5))
        if source is None and scaled.op_type == "Div" and self.is_number(scaled.input[1], math.sqrt(2)):
            source = scaled.input[0]
        added = self.only_taker(erf.output[0], "Add")
        if source is None or added is None or not any(self.is_number(name, 1.0) for name in added.input):
            return None
        product = self.only_taker(added.output[0], "Mul")
        if product is None:
            return None
        (other,) = [name for name in product.input if name != added.output[0]] or [""]
        inner = [*([scaled] if len(self.takers[scaled.output[0]]) == 1 else []), erf, added]
        if self.times(self.makers.get(other), 0.5) == source:
            return source, product, inner
        last = self.only_taker(product.output[0], "Mul")
        if last is None:
            return None
        (rest,) = [name for name in last.input if name != product.output[0]] or [""]
        whole = (other == source and self.is_number(rest, 0.5)) or (self.is_number(other, 0.5) and rest == source)
        return (source, last, [*inner, product]) if whole else None
