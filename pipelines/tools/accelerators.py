"""What a model can be trained on: how fast each computes, and how much it holds."""
from __future__ import annotations

import dataclasses
import difflib
import os
import time

from etils import epy

from pipelines.errors import UserError

with epy.lazy_imports():
    import tensorflow as tf

#: This machine, whose speed is measured.
HERE = "here"
GB, TERA = 10**9, 10**12
#: Rows and columns of the matrices that are multiplied to measure this machine, and how often.
SIDE, TIMES = 1024, 12


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """One device.

    Args:
        name: as it is called on the command line.
        half: floating-point operations a second in bfloat16 (float16 where it has no bfloat16), dense.
        single: of float32 variables, as TensorFlow multiplies them there: TensorFloat-32 on NVIDIA's from Ampere on,
            bfloat16 on TPUs.
        memory: bytes; 0 where that is not known.
        bandwidth: bytes a second that are read from its memory; 0 where that is not known.
    """

    name: str
    half: float
    single: float
    memory: int
    bandwidth: float

    def speed(self, precision: str) -> float:
        """Return its operations a second in a recipe's train.precision."""
        return self.single if precision == "float32" else self.half


def _known(name: str, half: float, single: float, memory: int, bandwidth: float) -> Accelerator:
    return Accelerator(name, half * TERA, single * TERA, memory * GB, bandwidth * GB)


#: The makers' figures, without sparsity: teraflops, gigabytes, gigabytes a second.
ACCELERATORS = {one.name: one for one in (
    # NVIDIA A100, H100, H200, L4 and T4 Tensor Core GPU datasheets; SXM where there are several forms
    _known("a100_40gb", 312, 156, 40, 1555), _known("a100", 312, 156, 80, 2039), _known("h100", 989, 494.5, 80, 3350),
    _known("h200", 989, 494.5, 141, 4800), _known("l4", 121, 60, 24, 300),
    # without TensorFloat-32
    _known("t4", 65, 8.1, 16, 320),
    # Google Cloud documentation, "TPU v4", "TPU v5e", "TPU v5p" and "TPU v6e": a chip
    _known("tpu_v4", 275, 275, 32, 1228), _known("tpu_v5e", 197, 197, 16, 819), _known("tpu_v5p", 459, 459, 95, 2765),
    _known("tpu_v6e", 918, 918, 32, 1640))}


def named(name: str) -> Accelerator:
    """Return an accelerator by its name; `here` is measured. Raises UserError that names the nearest."""
    if name == HERE:
        return here()
    if name not in ACCELERATORS:
        known = [HERE, *ACCELERATORS]
        near = difflib.get_close_matches(name.lower(), known, n=1)
        raise UserError(f"--accelerator {name} is not known" + (f"; did you mean {near[0]}?" if near else "")
                        + f" Known: {', '.join(known)}")
    return ACCELERATORS[name]


def here() -> Accelerator:
    """Return this machine's first GPU, or its processors: the best of some products of matrices."""
    gpus = tf.config.list_logical_devices("GPU")
    with tf.device(gpus[0].name if gpus else "CPU"):
        speeds = [_measured(dtype) for dtype in (tf.bfloat16, tf.float32)]
    counts = not gpus and hasattr(os, "sysconf")
    return Accelerator(HERE, speeds[0], speeds[1], os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
                       if counts else 0, 0.0)


def _measured(dtype: tf.DType) -> float:
    """Return the operations a second of the fastest product."""
    matrix = tf.cast(tf.random.stateless_uniform((SIDE, SIDE), (1, 2)), dtype)
    fastest = float("inf")
    for _ in range(TIMES):
        begin = time.perf_counter()
        tf.linalg.matmul(matrix, matrix).numpy()
        fastest = min(fastest, time.perf_counter() - begin)
    return 2 * SIDE**3 / fastest
