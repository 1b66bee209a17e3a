"""TF SavedModels with the signatures that TF Serving's clients call."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from etils import epy

from export.keras_models import graph

with epy.lazy_imports():
    import keras
    import tensorflow as tf

#: Feature of the tf.train.Example that the `classify` signature reads.
ENCODED = "image/encoded"


def export(model: keras.Model, folder: Path, *, labels: Sequence[str], decode: Callable[[tf.Tensor], tf.Tensor]) -> None:
    """Writes a SavedModel with the signatures a TF Serving fleet calls.

    ========================  ===========================================  ==========================================
    signature                 takes                                        gives
    ========================  ===========================================  ==========================================
    `serving_default`         `image`, uint8 (batch, height, width,        `logits`, `scores`: float32 (batch, classes)
                              channels), raw pixels
    `serving_bytes`           `image_bytes`, string (batch,): JPEG, PNG,   `logits`, `scores`
                              BMP, GIF files
    `classify`                `inputs`, string (batch,): tf.train.Example  `classes`: string, `scores`: float32,
                              with `image/encoded`                         (batch, classes), best first
    ========================  ===========================================  ==========================================

    Args:
        model: from raw pixels (batch, height, width, channels) to logits (batch, classes).
        folder: the numbered version folder, to be made.
        labels: the class names.
        decode: from an encoded picture, a scalar string, to uint8 (height, width, channels).
    """
    names, shape = tf.constant(list(labels)), model.input_shape[1:]

    def answer(image):
        logits = model(tf.cast(image, tf.float32), training=False)
        return {"logits": logits, "scores": tf.nn.softmax(logits)}

    def answer_bytes(image_bytes):
        return answer(tf.map_fn(decode, image_bytes, fn_output_signature=tf.TensorSpec(shape, tf.uint8)))

    def classify(inputs):
        examples = tf.io.parse_example(inputs, {ENCODED: tf.io.FixedLenFeature([], tf.string)})
        best = tf.math.top_k(answer_bytes(examples[ENCODED])["scores"], k=len(labels))
        return {"classes": tf.gather(names, best.indices), "scores": best.values}

    graph.write(model, folder, {
        "serving_default": (answer, [tf.TensorSpec((None, *shape), tf.uint8, "image")]),
        "serving_bytes": (answer_bytes, [tf.TensorSpec([None], tf.string, "image_bytes")]),
        "classify": (classify, [tf.TensorSpec([None], tf.string, "inputs")])})
