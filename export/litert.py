"""TFLite files: conversion, and what is in them."""
from __future__ import annotations

import collections
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export import graph
from export.variants import VARIANTS

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


def convert(source: Path, variant: str, calibration: np.ndarray | None = None) -> bytes:
    """Converts a float graph to a TFLite file.

    A conversion can crash the process: call this in one of its own.

    Args:
        source: a folder that `float_graph` wrote.
        variant: a name in `export.variants.VARIANTS`.
        calibration: uint8 pictures (examples, height, width, channels) out of the training set, for variants that need them.

    Returns:
        The file. Integer variants take uint8 pixels and give int8 logits, the others float32 in and out.

    Raises:
        ValueError: calibration pictures are missing, or the result is not what the variant promises.
    """
    wanted = VARIANTS[variant]
    converter = tf.lite.TFLiteConverter.from_saved_model(str(source), signature_keys=[SIGNATURE])
    if variant != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if wanted.calibrated:
        if calibration is None or not len(calibration):
            raise ValueError(f"variant {variant} needs calibration pictures")
        converter.representative_dataset = lambda: ([picture[None].astype("float32")] for picture in calibration)
    if wanted.integer:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    content = converter.convert()
    if wanted.integer:
        left = float_tensors(content)
        if left:
            raise ValueError(f"variant {variant} still has float tensors: {', '.join(left[:3])}")
    return content


def operators(content: bytes) -> dict[str, int]:
    """How often each operator stands in a TFLite file, most frequent first."""
    schema, model = _read(content)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    counts: collections.Counter[str] = collections.Counter()
    for subgraph in model.subgraphs:
        for operator in subgraph.operators or []:
            code = model.operatorCodes[operator.opcodeIndex]
            number = max(code.builtinCode, code.deprecatedBuiltinCode)
            counts[code.customCode.decode() if code.customCode else names[number]] += 1
    return dict(counts.most_common())


def float_tensors(content: bytes) -> Sequence[str]:
    """The names of the tensors that are not integers."""
    schema, model = _read(content)
    floats = {schema.TensorType.FLOAT32, schema.TensorType.FLOAT16, schema.TensorType.FLOAT64}
    return [tensor.name.decode() for subgraph in model.subgraphs for tensor in subgraph.tensors if tensor.type in floats]


def _read(content: bytes):
    from ai_edge_litert import schema_py_generated as schema

    return schema, schema.ModelT.InitFromPackedBuf(content, 0)
