"""How large a model is and how much it computes."""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from etils import epy

from models.attention import attention_class
from models.outputs import AUXILIARY, cut, named_outputs
from models.registry import Builder, builders

with epy.lazy_imports():
    import keras


@dataclasses.dataclass(frozen=True)
class Census:
    """A builder at its paper's setting.

    Args:
        parameters: all of them, moving statistics of batch normalization included.
        trainable: those that training changes.
        multiply_adds: of one example, in convolutions, dense and recurrent layers, and in attention.
    """

    builder: Builder
    parameters: int
    trainable: int
    multiply_adds: int


def multiply_adds(model: keras.Model) -> int:
    """Return the multiply-adds of one example in convolutions, dense and recurrent layers, and in attention, those of
    nested models included."""
    total = 0
    attention: Any = attention_class()
    layers: Sequence[Any] = model.layers
    for layer in layers:
        if isinstance(layer, keras.Model):
            total += multiply_adds(layer)
        elif isinstance(layer, keras.layers.MultiHeadAttention):
            total += _attention(layer)
        elif isinstance(layer, attention):
            query, key = layer.input[:2]
            total += 2 * query.shape[1] * key.shape[1] * query.shape[2]
        elif isinstance(layer, keras.layers.ReversibleEmbedding):
            total += sum(_reverse(layer))
        elif isinstance(layer, keras.layers.RNN):
            weights = (layer.cell.kernel, layer.cell.recurrent_kernel)
            sequence = keras.tree.flatten(layer.input)[0]  # behind it may come states to begin with
            total += sequence.shape[1] * sum(math.prod(weight.shape) for weight in weights)
        elif (kernel := getattr(layer, "kernel", None)) is not None:
            # each position of a transposed convolution's input meets the whole kernel, else each of the output
            is_transposed = isinstance(layer, keras.layers.Conv2DTranspose)
            positions = (layer.input if is_transposed else layer.output).shape[1:-1]
            total += math.prod(kernel.shape) * math.prod(positions)
    return total


def _reverse(layer: keras.layers.ReversibleEmbedding) -> Iterator[int]:
    """Yield the multiply-adds of each use of an embedding that makes logits."""
    for node in layer._inbound_nodes:
        if node.arguments.kwargs.get("reverse"):
            yield math.prod(layer.embeddings.shape) * math.prod(node.outputs[0].shape[1:-1])


def _attention(layer: keras.layers.MultiHeadAttention) -> int:
    """Return the multiply-adds of an attention: projections of queries, keys, values and output, then the products of
    all pairs of positions, twice."""
    *groups, tokens, _ = layer.output.shape[1:]
    projections = sum(math.prod(weight.shape) for weight in layer.weights if weight.name == "kernel")
    return math.prod(groups) * (tokens * projections + 2 * tokens**2 * layer.num_heads * layer.key_dim)


def census(chosen: Iterable[Builder] | None = None) -> Iterator[Census]:
    """Yield the sizes of models, all by default, at their papers' dimensions, one after the other: of those that are
    built, where no formula knows; auxiliary heads do not count."""
    for builder in sorted(builders() if chosen is None else chosen, key=lambda one: (one.family, one.name)):
        known = builder.sized(builder.at, {})
        if known is not None:
            yield Census(builder, known.parameters, known.parameters, known.multiply_adds)
            continue
        keras.backend.clear_session()
        with keras.StatelessScope(initialize_variables=False):  # weights have shapes there, and no values
            model = builder.build(builder.at, {})
            model = cut(model, [name for name in named_outputs(model) if not name.startswith(AUXILIARY)])
            trainable = sum(math.prod(variable.shape) for variable in model.trainable_variables)
            counted = Census(builder, model.count_params(), trainable, multiply_adds(model))
        keras.backend.clear_session()
        yield counted
