"""Full-integer quantization step by step, so that ranges can be changed and operators left out: calibrate, then quantize."""
from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from etils import epy

from export.conversion import requantize
from export.conversion.convert import SIGNATURE
from export.tflite import file as tflite_file
from export.tflite.trace import Trace

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

BINS = 2048


def calibrate(source: Path, pictures: np.ndarray) -> bytes:
    """A float32 TFLite file whose activations have their ranges noted.

    Args:
        source: a folder that `export.conversion.convert.float_graph` wrote, or a float32 TFLite file.
        pictures: uint8 (examples, height, width, channels) out of the training set.
    """
    if source.is_file():
        return requantize.calibrate(source.read_bytes(), pictures)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(source), signature_keys=[SIGNATURE])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([picture[None].astype("float32")] for picture in pictures)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    converter._experimental_calibrate_only = True
    return converter.convert()


def quantize(calibrated: bytes, *, per_channel: bool = True, keep_float: Collection[int] = (), integer_ends: bool = True) -> bytes:
    """The integer file of a calibrated one.

    Args:
        calibrated: see `calibrate`.
        per_channel: weights have a scale per output channel, not one for all.
        keep_float: operators that stay float, with weights in float16: their places among the file's operators, counted from 0.
        integer_ends: uint8 pixels in, int8 logits out, as far as the first and the last operator are not kept float.

    Raises:
        ValueError: there is no such operator.
    """
    from tensorflow.lite.python import convert, util

    steps = Trace(calibrated).steps
    if strange := [number for number in keep_float if not 0 <= number < len(steps)]:
        raise ValueError(f"keep_float: there is no operator {strange[0]}; the model has {len(steps)}, counted from 0")
    names = [steps[number].name for number in keep_float]
    content = convert.mlir_quantize(calibrated, disable_per_channel=not per_channel, fully_quantize=not names,
                                    denylisted_nodes=names or None)
    content = tflite_file.halve_weights(content) if names else content
    first, last = _ends(content)
    if integer_ends and first == "QUANTIZE" and last == "DEQUANTIZE":
        content = util.modify_model_io_type(content, tf.uint8, tf.int8)
    return tflite_file.slim(bytes(content))


def with_best_ranges(calibrated: bytes, pictures: np.ndarray) -> bytes:
    """The calibrated file with each activation's range set to what loses least: clipping and rounding together make the smallest
    mean squared error in 8 bits, over histograms of the pictures' activations (as Banner et al. 2019 have it in closed form).

    Args:
        calibrated: see `calibrate`.
        pictures: as for `calibrate`.
    """
    trace = Trace(calibrated)
    ranges = {place: (float(tensor.quantization.min[0]), float(tensor.quantization.max[0])) for place, tensor in enumerate(trace.tensors)
              if tensor.quantization is not None and tensor.quantization.min is not None and len(tensor.quantization.min) == 1
              and tensor.quantization.max[0] > tensor.quantization.min[0]}
    produced = {output for step in trace.steps for output in step.outputs} & set(ranges)
    counts = {place: np.zeros(BINS) for place in produced}
    for picture in pictures:
        trace.run(picture)
        for place in produced:
            counts[place] += np.histogram(trace.real(place), BINS, ranges[place])[0]
    for place in produced:
        low, high = ranges[place]
        best = best_range(counts[place], low, high)
        trace.tensors[place].quantization.min, trace.tensors[place].quantization.max = [best[0]], [best[1]]
    return tflite_file.write(trace.model)


def best_range(counts: np.ndarray, low: float, high: float, levels: int = 256) -> tuple[float, float]:
    """The part of a range with the smallest mean squared error of rounding to `levels` values and clipping what lies outside.

    Args:
        counts: a histogram of the values over equal bins of low..high.
    """
    edges = np.linspace(low, high, len(counts) + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    found, smallest = (low, high), np.inf
    for share in np.linspace(1.0, 0.2, 81):
        small, large = min(low * share, 0.0), max(high * share, 0.0)
        inside = (middles >= small) & (middles <= large)
        clipped = np.clip(middles, small, large) - middles
        error = (counts * np.where(inside, ((large - small) / (levels - 1)) ** 2 / 12, clipped**2)).sum()
        if error < smallest:
            found, smallest = (small, large), error
    return found


def _ends(content: bytes) -> tuple[str, str]:
    """The kinds of the operators at the ends of the main graph."""
    model = tflite_file.read(content)
    main = model.subgraphs[0]
    first = next(tflite_file.operator_name(model, one) for one in main.operators if main.inputs[0] in one.inputs)
    last = next(tflite_file.operator_name(model, one) for one in main.operators if main.outputs[0] in one.outputs)
    return first, last
