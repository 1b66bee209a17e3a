"""Full-integer quantization step by step, so that ranges can be changed and operators left out: calibrate, then
quantize."""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from etils import epy

from export.conversion import cells
from export.conversion import converter as converting
from export.conversion import integer_io as integers
from export.conversion.calibration import Calibration, one_by_one, representative
from export.signature import Arrays
from export.tflite import edit, lstm, signatures
from export.tflite import file as tflite_file
from export.tflite.trace import Trace

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Of the histograms that ranges are chosen by.
BINS = 2048


def calibrate(source: Path, calibration: Calibration, *, apart: bool = False) -> bytes:
    """Return a float32 TFLite file whose activations have their ranges noted.

    Args:
        source: a folder that `export.conversion.convert.float_graph` wrote, or a float32 TFLite file.
        calibration: inputs out of the training set.
        apart: note the range of each activation by itself, see `noted_apart`; it takes twice the time.

    Raises:
        ValueError: the graph has no such signature, or takes other inputs.
    """
    from tensorflow.lite.python.optimize import calibrator

    examples = representative(source, calibration)
    if source.is_file():
        if lstm.is_in(source.read_bytes()):
            raise ValueError(f"a float32 file with {lstm.KIND} cannot be calibrated; press it from the Keras model")
        content = bytes(calibrator.Calibrator(source.read_bytes()).calibrate(examples))
        return noted_apart(content, examples) if apart else content
    converter = tf.lite.TFLiteConverter.from_saved_model(str(source))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = examples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    converter._experimental_calibrate_only = True
    content = converting.run(converter)
    has_cells = lstm.is_in(content)
    if has_cells:  # its ranges are those under a bound that Keras does not have
        content = bytes(calibrator.Calibrator(lstm.without_bound(content)).calibrate(examples))
    if apart:
        content = noted_apart(content, examples)
    return lstm.with_whole_ranges(content, cells.reached(content, calibration)) if has_cells else content


def with_one_range(calibrated: bytes, states: Collection[str]) -> bytes:
    """Return a calibrated file in which what goes from one call to the next has one range, going in and out, so that an
    app hands on integers as they are.

    Args:
        states: names of inputs of the main signature, and of the outputs that are the same later.
    """
    model = tflite_file.read(calibrated)
    file, tensors = signatures.main(calibrated), model.subgraphs[0].tensors
    for name in states:
        both = [tensors[file.inputs[name].index].quantization, tensors[file.outputs[name].index].quantization]
        low, high = min(float(one.min[0]) for one in both), max(float(one.max[0]) for one in both)
        for one in both:
            one.min, one.max = [low], [high]
    return tflite_file.write(model)


def noted_apart(calibrated: bytes, examples: Callable[[], Iterator[Any]]) -> bytes:
    """Return a calibrated file whose ranges are those of its activations alone.

    TensorFlow's calibrator runs additions and products in place, and takes what they leave for a value of the tensor
    that they took: where a level of thousands is added to an answer of units, the answer's range becomes thousands, and
    8 bits have nothing of it. With every activation among the outputs, none is written over.

    Args:
        examples: see `calibration.representative`.
    """
    from tensorflow.lite.python.optimize import calibrator

    model = tflite_file.read(calibrated)
    graph = model.subgraphs[0]
    outputs = [int(index) for index in graph.outputs]
    activations = dict.fromkeys(int(index) for operator in graph.operators for index in operator.outputs)
    graph.outputs = np.array([*outputs, *(index for index in activations if index not in outputs)], np.int32)
    noted = tflite_file.read(bytes(calibrator.Calibrator(tflite_file.write(model)).calibrate(examples)))
    noted.subgraphs[0].outputs = np.array(outputs, np.int32)
    return tflite_file.write(noted)


def quantize(calibrated: bytes, *, per_channel: bool = True, keep_float: Collection[int] = (),
             integer_io: bool = True) -> bytes:
    """Return the integer file of a calibrated one.

    Args:
        calibrated: see `calibrate`.
        per_channel: weights have a scale per output channel, not one for all.
        keep_float: operators that stay float, with weights in float16: their positions among the main graph's
            operators, counted from 0.
        integer_io: the file takes and gives integers, see `export.conversion.integer_io`, unless the first or the last
            operator is kept float.

    Raises:
        ValueError: there is no such operator.
    """
    from tensorflow.lite.python import convert

    steps = Trace(calibrated).steps
    if unknown := [number for number in keep_float if not 0 <= number < len(steps)]:
        raise ValueError(f"keep_float: there is no operator {unknown[0]}; the model has {len(steps)}, counted from 0")
    names = [steps[number].name for number in keep_float]
    if names:
        content = convert.mlir_quantize(calibrated, disable_per_channel=not per_channel, denylisted_nodes=names)
        content = tflite_file.halve_weights(content)
        content = integers.with_integer_io(bytes(content)) if integer_io else content
    else:
        ends = integers.types_of(calibrated) if integer_io else (tf.float32, tf.float32)
        content = convert.mlir_quantize(calibrated, disable_per_channel=not per_channel, input_data_type=ends[0],
                                        output_data_type=ends[1])
        content = edit.with_unsigned_images(bytes(content)) if integer_io else content
    return tflite_file.slim(lstm.finished(bytes(content)))


def with_best_ranges(calibrated: bytes, inputs: Arrays) -> bytes:
    """Return the calibrated file with each activation's range set to what loses least: clipping and rounding together
    make the smallest mean squared error in 8 bits, over histograms of the activations (as Banner et al. 2019 have it in
    closed form).

    Args:
        calibrated: see `calibrate`.
        inputs: of its main signature, by name: some examples.
    """
    trace = Trace(calibrated)
    ranges = _ranges(trace)
    outputs = {output for step in trace.steps for output in step.outputs}
    counts = {index: np.zeros(BINS) for index in outputs & set(ranges)}
    for example in one_by_one(inputs):
        trace.run(example)
        for index in counts:
            counts[index] += np.histogram(trace.real(index), BINS, ranges[index])[0]
    for index, histogram in counts.items():
        low, high = best_range(histogram, *ranges[index])
        quantization = trace.tensors[index].quantization
        quantization.min, quantization.max = [low], [high]
    return tflite_file.write(trace.model)


def _ranges(trace: Trace) -> dict[int, tuple[float, float]]:
    """Return the ranges that calibration noted, by tensor; of activations, which have one for all their values."""
    ranges = {}
    for index, tensor in enumerate(trace.tensors):
        noted = tensor.quantization
        if noted is not None and noted.min is not None and len(noted.min) == 1 and noted.max[0] > noted.min[0]:
            ranges[index] = (float(noted.min[0]), float(noted.max[0]))
    return ranges


def best_range(counts: np.ndarray, low: float, high: float, levels: int = 256) -> tuple[float, float]:
    """Return the part of a range with the smallest mean squared error of rounding to `levels` values and clipping what
    lies outside.

    Args:
        counts: a histogram of the values over equal bins of low..high.
    """
    edges = np.linspace(low, high, len(counts) + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    best, smallest = (low, high), np.inf
    for share in np.linspace(1.0, 0.2, 81):
        small, large = min(low * share, 0.0), max(high * share, 0.0)
        inside = (middles >= small) & (middles <= large)
        clipped = np.clip(middles, small, large) - middles
        error = (counts * np.where(inside, ((large - small) / (levels - 1)) ** 2 / 12, clipped**2)).sum()
        if error < smallest:
            best, smallest = (small, large), error
    return best
