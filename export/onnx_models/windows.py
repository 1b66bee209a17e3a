"""Where the windows of convolutions and pools lie on a tensor, and what is put around it."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from export.onnx_models.registry import Node
from export.onnx_models.values import Value


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows over the spatial axes of a tensor.

    Args:
        sizes: of the tensor.
        kernel, strides, dilations: along each axis.
        pads: what stands before and after it.
        outputs: how many windows there are.
        beyond: what stands after the padding, so that the last window is whole, where sizes are rounded up.
    """

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]
    beyond: tuple[int, ...]

    @property
    def same(self) -> bool:
        """Return whether TensorFlow's "SAME" has the same windows."""
        extents = [dilation * (size - 1) + 1 for size, dilation in zip(self.kernel, self.dilations, strict=True)]
        usual = [same_pads(*one) for one in zip(self.sizes, extents, self.strides, strict=True)]
        return list(self.pads) == usual and not any(self.beyond)

    @property
    def valid(self) -> bool:
        """Return whether nothing stands around the tensor."""
        return not any(before or after for before, after in self.around)

    @property
    def around(self) -> list[tuple[int, int]]:
        """Return all that stands before and after the tensor that any window sees."""
        return [(before, max(0, after + beyond)) for (before, after), beyond in
                zip(self.pads, self.beyond, strict=True)]


def windows(node: Node, x: Value, kernel: Sequence[int]) -> Windows:
    """Return the windows of a node. Raises ValueError where a spatial size of its tensor is not known, or it has three
    of them."""
    sizes = x.shape[2:]
    if len(sizes) not in (1, 2):
        raise ValueError(f"it goes along {len(sizes)} axes; 1 and 2 are read")
    if None in sizes:
        raise ValueError("the size of what it goes over is not known")
    known = tuple(int(size) for size in sizes if size is not None)
    strides = tuple(node.get("strides", [1] * len(sizes)))
    dilations = tuple(node.get("dilations", [1] * len(sizes)))
    extents = [dilation * (size - 1) + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    pads = pads_of(node, known, extents, strides)
    outputs, beyond = [], []
    for size, extent, stride, (before, after) in zip(known, extents, strides, pads, strict=True):
        count = (size + before + after - extent) // stride + 1
        if node.get("ceil_mode", 0):
            count = -(-(size + before + after - extent) // stride) + 1
            count -= (count - 1) * stride >= size + before  # no window lies in the padding behind alone
        outputs.append(count)
        beyond.append(max(0, (count - 1) * stride + extent - size - before - after) if node.get("ceil_mode", 0) else 0)
    return Windows(known, tuple(kernel), strides, dilations, tuple(pads), tuple(outputs), tuple(beyond))


def same_pads(size: int, extent: int, stride: int) -> tuple[int, int]:
    """Return what TensorFlow's "SAME" puts before and after an axis."""
    total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def pads_of(node: Node, sizes: Sequence[int], extents: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Return what a node puts before and after each axis. Raises ValueError where it takes something away."""
    kind = node.get("auto_pad", "NOTSET")
    if kind in ("SAME_UPPER", "SAME_LOWER"):
        upper = [same_pads(*one) for one in zip(sizes, extents, strides, strict=True)]
        return upper if kind == "SAME_UPPER" else [(after, before) for before, after in upper]
    pads = node.get("pads", [0] * (2 * len(sizes))) if kind == "NOTSET" else [0] * (2 * len(sizes))
    if min(pads) < 0:
        raise ValueError("it has pads below 0, which are not read")
    return list(zip(pads[:len(sizes)], pads[len(sizes):], strict=True))
