"""Frozen graphs, as TensorFlow 1 wrote them: a .pb file that holds one graph and its weights, and no signature."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.errors import first_line
from export.keras_models import foreign_code
from export.keras_models.imported import plain
from export.signature import DEFAULT

with epy.lazy_imports():
    import tensorflow as tf

#: Of their files.
ENDING = ".pb"
#: Operators that keep a weight outside the graph: those of TensorFlow 1 alone, and all.
REFERENCES = ("Variable", "VariableV2", "TemporaryVariable")
VARIABLES = (*REFERENCES, "VarHandleOp")
#: Operators that nothing else takes, and that are no answers.
NO_ANSWERS = ("Const", "Placeholder", "PlaceholderWithDefault", "NoOp", "Assert")


def export(path: Path, folder: Path, allow_code: bool = False) -> None:
    """Write a frozen graph as a SavedModel: it takes what its placeholders take, and gives what comes of these and
    nothing else in the graph takes; beside the place of the largest number also the numbers.

    Args:
        folder: to be made.

    Raises:
        ForeignCodeError: it would do more than compute, and that is not allowed.
        ValueError: it is damaged or none, keeps its weights in a checkpoint, or has no inputs or outputs of examples.
    """
    graph = foreign_code.parsed(tf.compat.v1.GraphDef, path)
    if not allow_code:
        foreign_code.check_graph(graph, path)
    kept = [node.name for node in graph.node if node.op in VARIABLES]
    if kept:
        raise ValueError(f"{path} is a graph whose weights are in a checkpoint ({kept[0]}, …): freeze it, or save it "
                         "as a SavedModel")
    try:
        module = tf.Module()
        module.graph = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
        inputs = _inputs(module.graph.graph)
        outputs = _outputs(inputs)
        _check(path, inputs, outputs)
        module.pruned = module.graph.prune(inputs, outputs)
        names = [plain(tensor.op.name) for tensor in inputs]

        def call(**given: Any) -> dict[str, Any]:
            return module.pruned(*(given[name] for name in names))

        module.call = tf.function(call, autograph=False)
        specifications = {name: tf.TensorSpec(tensor.shape, tensor.dtype, name)
                          for name, tensor in zip(names, inputs, strict=True)}
        tf.saved_model.save(module, str(folder), signatures={
            DEFAULT: module.call.get_concrete_function(**specifications)})
    except (ValueError, KeyError, TypeError, tf.errors.OpError) as error:
        message = first_line(error)
        raise ValueError(message if str(path) in message else f"{path} cannot be read as a frozen graph: {message}"
                         ) from error


def _inputs(graph: Any) -> list[Any]:
    """Return the placeholders that something takes; where there are none, those that have a default."""
    for kind in ("Placeholder", "PlaceholderWithDefault"):
        found = [operation.outputs[0] for operation in graph.get_operations()
                 if operation.type == kind and operation.outputs[0].consumers()]
        if found:
            return found
    return []


def _outputs(inputs: Sequence[Any]) -> dict[str, Any]:
    """Return the answers by name."""
    waiting, seen, answers = [tensor.op for tensor in inputs], set(), []
    while waiting:
        operation = waiting.pop()
        if operation.name in seen:
            continue
        seen.add(operation.name)
        consumers = [one for tensor in operation.outputs for one in tensor.consumers()]
        waiting += consumers
        if not consumers and operation.type not in NO_ANSWERS and not operation.type.endswith("Summary"):
            answers.append(operation)
    named: dict[str, Any] = {}
    for operation in sorted(answers, key=lambda one: one.name):
        tensors = list(operation.outputs)
        if operation.type == "ArgMax":
            tensors = [operation.inputs[0], *tensors]
        for tensor in tensors:
            number = tensor.value_index
            named[plain(tensor.op.name) + (f"_{number}" if number else "")] = tensor
    return named


def _check(path: Path, inputs: Sequence[Any], outputs: dict[str, Any]) -> None:
    if not inputs or not outputs:
        raise ValueError(f"{path} is no frozen graph of a model: it has no {'placeholder' if not inputs else 'output'}")
    names = [plain(tensor.op.name) for tensor in inputs]
    if len(set(names)) < len(names):
        raise ValueError(f"{path} has two placeholders of one name: {', '.join(tensor.op.name for tensor in inputs)}")
    for tensor in inputs:
        if not tensor.shape.rank:
            what = "no known shape" if tensor.shape.rank is None else "one value for all examples"
            raise ValueError(f"{path} has a placeholder {tensor.op.name} of {what}: give it a shape, or make it a "
                             "constant, where the graph is frozen")
