"""What to write in the place of operators that accelerators do not take."""
from __future__ import annotations

import collections
from collections.abc import Sequence

from export.artifacts import Coverage
from export.tflite import file as tflite_file

NORMALIZATION = "batch normalization in the place of layer normalization"
#: Kind of operator to what accelerators take instead.
INSTEAD = {
    **dict.fromkeys(("GELU", "ERF", "EXP", "POW"), "hard_swish or relu6 in the place of gelu and swish"),
    **dict.fromkeys(("RSQRT", "SQRT", "SQUARED_DIFFERENCE", "SQUARE"), NORMALIZATION),
    "BATCH_MATMUL": "convolutions in the place of attention",
    "GATHER": "slices, or a 1 x 1 convolution", "GATHER_ND": "slices",
    "DIV": "a multiplication with the reciprocal", "SOFTMAX": "the logits, and the softmax in the app",
    "ARG_MAX": "the logits, and the best class in the app", "TOPK_V2": "the logits, and the best classes in the app",
    "LOCAL_RESPONSE_NORMALIZATION": "batch normalization", "TRANSPOSE": "channels last throughout",
    "RESIZE_BILINEAR": "a transposed convolution, or scales of 2",
    "WHILE": "steps written out", "NEG": "a multiplication with -1",
    "L2_NORMALIZATION": "x * rsqrt(sum(x * x))", "LOGISTIC": "hard_sigmoid", "TANH": "relu6"}
#: Convolutions whose channels are not a multiple of this leave a part of an NPU's multipliers idle.
CHANNELS = 8


def advice(coverage: Coverage) -> list[str]:
    """Return what would run on an accelerator in the place of what does not, a line per kind of operator."""
    counts = collections.Counter(one.operator for one in coverage.left)
    reasons = {one.operator: one.reason for one in reversed(coverage.left)}
    lines = []
    for kind, count in counts.most_common():
        times = f" x {count}" if count > 1 else ""
        reason = f": {reasons[kind]}" if reasons[kind] else ""
        instead = f". Instead: {INSTEAD[kind]}" if kind in INSTEAD else ""
        lines.append(f"{kind}{times} stays on the CPU{reason}{instead}")
    return lines


def uneven_channels(content: bytes) -> Sequence[str]:
    """Return the convolutions of a TFLite file whose output channels are not a multiple of eight."""
    model = tflite_file.read(content)
    graph = model.subgraphs[0]
    uneven = []
    for operator in graph.operators:
        if tflite_file.operator_name(model, operator) not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        tensor = graph.tensors[int(operator.outputs[0])]
        channels = int(tensor.shape[-1])
        if channels % CHANNELS:
            uneven.append(f"{tflite_file.layer_name(tensor.name.decode())} ({channels})")
    return uneven
