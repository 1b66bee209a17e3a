"""From a Keras model to TFLite files."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.conversion import calibration as calibrating
from export.conversion import converter as converting
from export.conversion import fused, int8, requantize, weight_only
from export.conversion import integer_io as integers
from export.conversion.calibration import Calibration
from export.conversion.plain import plain
from export.encodings import ENCODINGS
from export.keras_models import graph
from export.signature import Function
from export.tflite import edit, lstm
from export.tflite import file as tflite_file

with epy.lazy_imports():
    import keras
    import tensorflow as tf

#: From a model to what is written of it: a function for each signature.
Functions = Callable[[Any], Sequence[Function]]


def float_graph(model: keras.Model, functions: Functions, folder: Path) -> None:
    """Write the graph that every variant is converted from: a SavedModel for one example at a time.

    The batch is fixed, since that is what NPU compilers take.

    Args:
        functions: called with the model as it is written, see `plain` and `fused.fused`.
        folder: to be made.
    """
    written = fused.fused(plain(model))
    graph.write(written, folder, functions(written), batch=1)


def convert(source: Path, encoding: str, calibration: Calibration | None = None, *, per_channel: bool = True,
            integer_io: bool = True, all_integer: bool = True, sparse: bool = False) -> bytes:
    """Return a TFLite file with the signatures of a float graph.

    A conversion can crash the process: call this in one of its own.

    Args:
        source: a folder that `float_graph` wrote, or a float32 TFLite file.
        encoding: a name in `export.encodings.ENCODINGS`.
        calibration: inputs out of the training set, for encodings that need them.
        per_channel: weights have a scale per output channel, not one for all.
        integer_io: an integer encoding takes and gives integers: images as uint8, other real numbers as int8 (int16x8:
            all as int16); int32 stays as it is. Otherwise they are float32.
        all_integer: an integer encoding with an operator that has no integer form is an error; otherwise that one stays
            float.
        sparse: weights with many zeros are stored without them, where LiteRT has kernels that leave them out.

    Raises:
        ValueError: calibration examples are missing, or the result is not what the encoding promises.
    """
    if source.is_file():
        content = requantize.convert(source, encoding, calibration, per_channel=per_channel, integer_io=integer_io)
    elif encoding in weight_only.BITS:
        content = weight_only.quantize(convert(source, "float32"), weight_only.BITS[encoding])
    elif ENCODINGS[encoding].calibrated:
        content = _calibrated(source, encoding, calibration, per_channel=per_channel, integer_io=integer_io,
                              all_integer=all_integer, sparse=sparse)
    else:
        content = _float(source, encoding, per_channel=per_channel, sparse=sparse)
    return tflite_file.slim(lstm.finished(content))


def _float(source: Path, encoding: str, *, per_channel: bool, sparse: bool) -> bytes:
    """Return a file that computes in float32, whatever its weights are."""
    converter = _converter(source, optimized=encoding != "float32", per_channel=per_channel, sparse=sparse)
    if encoding == "float16":
        converter.target_spec.supported_types = [tf.float16]
    return converting.run(converter)


def _calibrated(source: Path, encoding: str, calibration: Calibration | None, *, per_channel: bool, integer_io: bool,
                all_integer: bool, sparse: bool) -> bytes:
    """Return a file whose activations are integers."""
    if not calibrating.has_examples(calibration):
        raise ValueError(f"{encoding} needs calibration examples")
    if fused.is_in((source / "saved_model.pb").read_bytes()):
        return _with_lstms(source, encoding, calibration or (), per_channel=per_channel, integer_io=integer_io,
                           all_integer=all_integer)
    converter = _converter(source, optimized=True, per_channel=per_channel, sparse=sparse)
    converter.representative_dataset = calibrating.representative(source, calibration or ())
    if not ENCODINGS[encoding].integer:
        return converting.run(converter)
    wide = encoding == "int16x8"
    supported = [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8 if wide
                 else tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.target_spec.supported_ops = supported if all_integer else [*supported, tf.lite.OpsSet.TFLITE_BUILTINS]
    if not integer_io:
        return converting.run(converter)
    taken = calibrating.signatures_of(source).values()
    converter.inference_input_type = tf.int16 if wide else integers.input_type(taken)
    converter.inference_output_type = tf.int16 if wide else tf.int8
    content = edit.with_unsigned_images(converting.run(converter))
    return _checked(content, encoding) if all_integer else content


def _with_lstms(source: Path, encoding: str, calibration: Calibration, *, per_channel: bool, integer_io: bool,
                all_integer: bool) -> bytes:
    """Return an int8 file of a graph with LSTM operators, whose ranges are taken without the converter's bound on
    cells."""
    if encoding != "int8":
        raise ValueError(f"{encoding}: TensorFlow's converter makes no 16-bit activations of {lstm.KIND}; use int8, or "
                         "float16 or dynamic")
    content = int8.quantize(int8.calibrate(source, calibration), per_channel=per_channel, integer_io=integer_io)
    if all_integer and not integer_io and (floats := tflite_file.float_operators(content)):
        raise ValueError(f"{encoding} still has float operators: {', '.join(floats[:3])}")
    return _checked(content, encoding) if all_integer and integer_io else content


def _checked(content: bytes, encoding: str) -> bytes:
    """Return an integer file. Raises ValueError where some of its numbers are not integers."""
    if floats := tflite_file.float_tensors(content):
        raise ValueError(f"{encoding} still has float tensors: {', '.join(floats[:3])}")
    return content


def _converter(source: Path, *, optimized: bool, per_channel: bool, sparse: bool) -> Any:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(source))
    if optimized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter._experimental_disable_per_channel = not per_channel
    if sparse:
        converter.optimizations = [*converter.optimizations, tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    return converter
