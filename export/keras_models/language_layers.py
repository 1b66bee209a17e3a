"""Layers of language models that Keras 3 has and Keras 2 lacks, for tf_keras: under their names, with their settings
and weights."""
from __future__ import annotations

import functools
from typing import Any

from etils import epy

with epy.lazy_imports():
    import tensorflow as tf
    import tf_keras


@functools.cache
def layers_for_keras_2() -> dict[str, type]:
    """Return the classes by their names, made once, on demand."""
    class RMSNormalization(tf_keras.layers.Layer):
        """Division by the root of the mean square, and a learnt factor (Zhang and Sennrich 2019)."""

        def __init__(self, axis: int = -1, epsilon: float = 1e-6, **settings: Any):
            super().__init__(**settings)
            self.axis, self.epsilon = axis, epsilon

        def build(self, input_shape: Any) -> None:
            if self.axis not in (-1, len(input_shape) - 1):
                raise ValueError(f"layer {self.name} (RMSNormalization) normalizes along axis {self.axis}; only the "
                                 "last one crosses")
            self.scale = self.add_weight("scale", (int(input_shape[-1]),), initializer="ones")

        def call(self, x: Any) -> Any:
            whole = tf.cast(x, tf.float32)
            mean = tf.reduce_mean(tf.square(whole), axis=-1, keepdims=True)
            return tf.cast(whole * tf.math.rsqrt(mean + self.epsilon), x.dtype) * tf.cast(self.scale, x.dtype)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}

    class ReversibleEmbedding(tf_keras.layers.Embedding):
        """Vectors of tokens, and, in reverse, how well each token goes with a vector (Press and Wolf 2017)."""

        def __init__(self, *sizes: Any, tie_weights: bool = True, logit_soft_cap: float | None = None, **settings: Any):
            super().__init__(*sizes, **settings)
            self.tie_weights, self.logit_soft_cap = tie_weights, logit_soft_cap

        def build(self, input_shape: Any = None) -> None:
            super().build(input_shape)
            if not self.tie_weights:
                self.reverse_embeddings = self.add_weight("reverse_embeddings", (self.output_dim, self.input_dim))

        def call(self, inputs: Any, reverse: bool = False) -> Any:
            if not reverse:
                return super().call(inputs)
            if self.tie_weights:
                logits = tf.matmul(inputs, tf.cast(self.embeddings, inputs.dtype), transpose_b=True)
            else:
                logits = tf.matmul(inputs, tf.cast(self.reverse_embeddings, inputs.dtype))
            cap = self.logit_soft_cap
            return logits if cap is None else cap * tf.tanh(logits / cap)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "tie_weights": self.tie_weights, "logit_soft_cap": self.logit_soft_cap}

    return {kind.__name__: kind for kind in (RMSNormalization, ReversibleEmbedding)}
