"""Frozen graphs, as TensorFlow 1 wrote them: a .pb file that holds one graph and its weights, and no signature."""
from __future__ import annotations

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
#: Operators that keep a weight outside the graph.
VARIABLES = ("Variable", "VariableV2", "VarHandleOp", "TemporaryVariable")
#: Operators of whose result nothing has to be made, though it is no answer.
NO_ANSWERS = ("Const", "Placeholder", "NoOp", "Assert")


def export(path: Path, folder: Path, allow_code: bool = False) -> None:
    """Write a frozen graph as a SavedModel: it takes what its placeholders take, and gives what nothing else in the
    graph takes.

    Args:
        folder: to be made.

    Raises:
        ForeignCodeError: it would do more than compute, and that is not allowed.
        ValueError: it is damaged or none, keeps its weights in a checkpoint, or has no inputs or outputs.
    """
    graph = foreign_code.parsed(tf.compat.v1.GraphDef, path)
    if not allow_code:
        foreign_code.check_graph(graph, path)
    kept = [node.name for node in graph.node if node.op in VARIABLES]
    if kept:
        raise ValueError(f"{path} is a graph whose weights are in a checkpoint ({kept[0]}, …): freeze it, or save it "
                         "as a SavedModel")
    taken = {name.lstrip("^").split(":")[0] for node in graph.node for name in node.input}
    inputs = [node.name for node in graph.node if node.name in taken and node.op == "Placeholder"]
    outputs = [node.name for node in graph.node if node.name not in taken and node.op not in NO_ANSWERS]
    if not inputs or not outputs:
        raise ValueError(f"{path} is no frozen graph of a model: it has no {'placeholder' if not inputs else 'output'}")
    try:
        module = tf.Module()
        module.graph = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
        tensors = [module.graph.graph.get_tensor_by_name(f"{name}:0") for name in inputs]
        answers = {plain(name): module.graph.graph.get_tensor_by_name(f"{name}:0") for name in outputs}
        module.pruned = module.graph.prune(tensors, answers)

        def call(**given: Any) -> dict[str, Any]:
            return module.pruned(*(given[plain(name)] for name in inputs))

        module.call = tf.function(call, autograph=False)
        specifications = {plain(name): tf.TensorSpec(tensor.shape, tensor.dtype, plain(name))
                          for name, tensor in zip(inputs, tensors, strict=True)}
        tf.saved_model.save(module, str(folder), signatures={
            DEFAULT: module.call.get_concrete_function(**specifications)})
    except (ValueError, KeyError, TypeError, tf.errors.OpError) as error:
        raise ValueError(f"{path} cannot be read as a frozen graph: {first_line(error)}") from error
