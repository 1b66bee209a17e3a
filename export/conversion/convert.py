"""From a Keras model to TFLite files."""
from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from etils import epy

from export.conversion import requantize, weight_only
from export.encodings import ENCODINGS
from export.keras_models import graph
from export.tflite import file as tflite_file

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf

SIGNATURE = "serving_default"
INPUT, OUTPUT = "image", "logits"


def float_graph(model: keras.Model, folder: Path) -> None:
    """Writes the graph that every variant is converted from: a SavedModel for one picture at a time.

    Args:
        model: from raw pixels (batch, height, width, channels) to logits (batch, classes).
        folder: to be made. Its signature `serving_default` takes `image`, float32 (1, height, width, channels), 0..255, and
            gives `logits`, float32 (1, classes). The batch is fixed: that is what NPU compilers take.
    """
    specification = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, INPUT)
    model = _with_plain_normalization(model)
    graph.write(model, folder, {SIGNATURE: (lambda image: {OUTPUT: model(image, training=False)}, [specification])})


def _with_plain_normalization(model: keras.Model) -> keras.Model:
    """The same model, its layer normalization written in operations that have integer kernels: Keras' way needs NEG, which has none."""
    if not any(isinstance(layer, keras.layers.LayerNormalization) for layer in model.layers):
        return model

    class PlainNormalization(keras.layers.LayerNormalization):
        def call(self, inputs):
            centred = inputs - keras.ops.mean(inputs, axis=self.axis, keepdims=True)
            variance = keras.ops.mean(centred * centred, axis=self.axis, keepdims=True)
            outputs = centred * keras.ops.rsqrt(variance + self.epsilon)
            return (outputs * self.gamma if self.scale else outputs) + (self.beta if self.center else 0)

    @functools.cache
    def rewritten(operation: Any) -> Any:
        if type(operation) is not keras.layers.LayerNormalization or operation.rms_scaling:
            return operation
        plain = PlainNormalization.from_config(operation.get_config())
        plain.build(operation.input.shape)
        plain.set_weights(operation.get_weights())
        return plain

    image = keras.Input(model.input_shape[1:], name=INPUT)
    return keras.Model(image, model._run_through_graph(image, operation_fn=rewritten))


def convert(source: Path, encoding: str, calibration: np.ndarray | None = None, *, per_channel: bool = True,
            integer_ends: bool = True, all_integer: bool = True, sparse: bool = False) -> bytes:
    """Converts a float graph to a TFLite file.

    A conversion can crash the process: call this in one of its own.

    Args:
        source: a folder that `float_graph` wrote, or a float32 TFLite file.
        encoding: a name in `export.encodings.ENCODINGS`.
        calibration: uint8 pictures (examples, height, width, channels) out of the training set, for encodings that need them.
        per_channel: integer weights have a scale per output channel, not one for all.
        integer_ends: integer encodings take and give integers, not float32.
        all_integer: an integer encoding with an operator that has no integer form is an error; otherwise that one stays float.
        sparse: weights with many zeros are stored without them, where LiteRT has kernels that leave them out.

    Returns:
        The file. Integer encodings take uint8 pixels and give int8 logits (int16x8: int16 both), the others float32 in and out.

    Raises:
        ValueError: calibration pictures are missing, or the result is not what the encoding promises.
    """
    if source.is_file():
        return tflite_file.slim(requantize.convert(source.read_bytes(), encoding, calibration, per_channel=per_channel,
                                                   integer_ends=integer_ends))
    if encoding in weight_only.BITS:
        return tflite_file.slim(weight_only.quantize(convert(source, "float32"), weight_only.BITS[encoding]))
    wanted = ENCODINGS[encoding]
    converter = tf.lite.TFLiteConverter.from_saved_model(str(source), signature_keys=[SIGNATURE])
    if encoding != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter._experimental_disable_per_channel = not per_channel
    if sparse:
        converter.optimizations = [*converter.optimizations, tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    if encoding == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if wanted.calibrated:
        if calibration is None or not len(calibration):
            raise ValueError(f"{encoding} needs calibration pictures")
        converter.representative_dataset = lambda: ([picture[None].astype("float32")] for picture in calibration)
    if wanted.integer:
        wide = encoding == "int16x8"
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8 if wide else tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if not all_integer:
            converter.target_spec.supported_ops = [*converter.target_spec.supported_ops, tf.lite.OpsSet.TFLITE_BUILTINS]
        if integer_ends:
            converter.inference_input_type, converter.inference_output_type = (tf.int16, tf.int16) if wide else (tf.uint8, tf.int8)
    content = tflite_file.slim(converter.convert())
    if wanted.integer and integer_ends and all_integer:
        left = tflite_file.float_tensors(content)
        if left:
            raise ValueError(f"{encoding} still has float tensors: {', '.join(left[:3])}")
    return content
