"""Weights of dense layers in 4 bits, a scale for each block of them (litert-quantizer)."""
from __future__ import annotations

import contextlib
import io
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from export.tflite import file as tflite_file

#: Weights that may share a scale.
BLOCKS = (32, 64, 128, 256)
DENSE, LOOKUP = "FULLY_CONNECTED", "EMBEDDING_LOOKUP"
#: Operators that only hand numbers on, or change their shape.
SHAPING = ("RESHAPE", "SLICE", "STRIDED_SLICE", "SQUEEZE", "EXPAND_DIMS")
#: What is not at least so much smaller has not been quantized.
SHARE = 0.9


class Dense(NamedTuple):
    """A dense layer of a file.

    Args:
        name: of what it gives.
        taken: numbers that each of its outputs is made of.
        last: what it gives is the file's own output.
    """

    name: str
    taken: int
    last: bool


def quantize(content: bytes, block: int) -> bytes:
    """Return a float32 TFLite file whose dense layers have weights in 4 bits, a scale for each block; those of the last
    layer, and tables of embeddings that the operator EMBEDDING_LOOKUP reads, are in 8 bits, a scale for each row.
    Activations are quantized while running.

    Args:
        block: one of BLOCKS.

    Raises:
        ValueError: there are no such layers, blocks do not divide what a layer reads, or the file has not become
            smaller.
    """
    from litert_quantizer import qtyping, quantizer

    named = tflite_file.with_names_of_their_own(content)
    layers = list(_layers(tflite_file.read(named)))
    inner = [layer for layer in layers if not layer.last]
    if not inner:
        raise ValueError("int4_blocks is for dense layers before the last one, and there are none; use int4_weights")
    for layer in inner:
        if layer.taken % block:
            fitting = [one for one in BLOCKS if not any(other.taken % one for other in inner)]
            advice = f"give block: {fitting[0]}" if fitting else f"make the model's widths multiples of {BLOCKS[0]}"
            raise ValueError(f"int4_blocks: a dense layer reads {layer.taken} numbers, which blocks of {block} do not "
                             f"divide; {advice}")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float32.tflite"
        source.write_bytes(named)
        with contextlib.redirect_stdout(io.StringIO()):
            one = quantizer.Quantizer(str(source))
            kinds = qtyping.TFLOperationName
            one.add_dynamic_config(".*", kinds.FULLY_CONNECTED, num_bits=8)
            one.add_dynamic_config(".*", kinds.EMBEDDING_LOOKUP, num_bits=8)
            names = "|".join(re.escape(name) for name in dict.fromkeys(layer.name for layer in inner))
            one.add_dynamic_config(f"^({names});?$", kinds.FULLY_CONNECTED, num_bits=4,
                                   granularity=qtyping.QuantGranularity(f"BLOCKWISE_{block}"))
            result = bytes(one.quantize(enable_progress_report=False).quantized_model)
    return checked(result, content)


def checked(content: bytes, before: bytes) -> bytes:
    """Return a quantized file. Raises ValueError where it is hardly smaller: some settings of the quantizer leave the
    weights as they are, and say nothing."""
    if len(content) > SHARE * len(before):
        raise ValueError(f"int4_blocks: the file has {len(content):,} bytes, and {len(before):,} in float32: its "
                         "weights are not in dense layers; use int8_weights")
    return content


def in_float(content: bytes) -> list[str]:
    """Return the kinds of operators of a file that read large constants in float32: of a GATHER the quantizer leaves
    the table as it is."""
    model = tflite_file.read(content)
    kinds = []
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            tensors = [graph.tensors[number] for number in operator.inputs if number >= 0]
            if any(tflite_file.dtype(tensor) == "float32" and tflite_file.is_constant(model, tensor)
                   and len(tflite_file.shape(tensor)) > 1 for tensor in tensors):
                kinds.append(tflite_file.operator_name(model, operator))
    return sorted(set(kinds))


def _layers(model: Any) -> Iterator[Dense]:
    """Yield the dense layers with constant weights, of all signatures."""
    for graph in model.subgraphs:
        last = _ends(model, graph)
        for operator in graph.operators or ():
            weights = graph.tensors[operator.inputs[1]] if len(operator.inputs) > 1 else None
            if tflite_file.operator_name(model, operator) == DENSE and weights is not None and (
                    tflite_file.is_constant(model, weights)):
                output = operator.outputs[0]
                yield Dense(graph.tensors[output].name.decode(), tflite_file.shape(weights)[-1], output in last)


def _ends(model: Any, graph: Any) -> set[int]:
    """Return the tensors that are a graph's outputs but for their shape."""
    ends = set(graph.outputs.tolist() if hasattr(graph.outputs, "tolist") else graph.outputs)
    for operator in reversed(graph.operators or ()):
        if ends & set(operator.outputs) and tflite_file.operator_name(model, operator) in SHAPING:
            ends.add(operator.inputs[0])
    return ends
