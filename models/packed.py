"""Several texts in one row, which see nothing of each other: each begins with the token that stands before a text."""
from __future__ import annotations

import functools
from typing import Any

from etils import epy

from models.attention import HIDDEN
from models.registry import own_layer

with epy.lazy_imports():
    import keras
    import numpy as np

#: The token that stands before each text.
START = 2


def texts_of(tokens: Any) -> Any:
    """Return the number of the text that each token of a row is of, int32 (batch, length)."""
    return keras.ops.cumsum(keras.ops.cast(keras.ops.equal(tokens, START), "int32"), axis=1)


def places_of(tokens: Any) -> Any:
    """Return where each token stands in its own text, int32 (batch, length); before the first text in the row."""
    texts = texts_of(tokens)
    before = keras.ops.cast(np.tril(np.ones((tokens.shape[1],) * 2, "int32"), -1), "int32")
    same = keras.ops.cast(keras.ops.equal(texts[:, :, None], texts[:, None]), "int32")
    return keras.ops.sum(same * before, axis=2)


def apart(tokens: Any) -> Any:
    """Return what is added to scores so that no token sees another text's, float32 (batch, 1, length, length)."""
    texts = texts_of(tokens)
    other = keras.ops.not_equal(texts[:, :, None], texts[:, None])
    return keras.ops.cast(other, "float32")[:, None] * HIDDEN


def packed_texts(tokens: Any, units: int, deviation: float) -> tuple[Any, Any]:
    """Return what keeps the texts of a row apart, see `apart`, and a vector for each position in its own text, which is
    learnt, as `models.positions.learned` has them.

    Args:
        tokens: an input of the model, int32 (batch, length).
        deviation: of the vectors to begin with.
    """
    bias, places = packed_class()(name="texts")(tokens)
    table = keras.layers.Embedding(tokens.shape[1], units, name="positions",
                                   embeddings_initializer=keras.initializers.RandomNormal(stddev=deviation))
    return bias, table(places)


@own_layer
@functools.cache
def packed_class() -> type:
    """Return the layer that keeps texts apart, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class PackedTexts(keras.layers.Layer):
        """What is added to scores, and where tokens stand, while a model learns from several texts in a row; in
        inference there is one text in a row, and it does nothing. It has no weights."""

        def call(self, tokens: Any, training: Any = False) -> tuple[Any, Any]:
            """Return `apart` and `places_of` of tokens, int32 (batch, length)."""
            if training:
                return apart(tokens), places_of(tokens)
            length = tokens.shape[1]
            return (keras.ops.zeros((1, 1, 1, 1)),
                    keras.ops.zeros_like(tokens[:1]) + np.arange(length, dtype="int32")[None])

        def compute_output_spec(self, tokens: Any, training: Any = False) -> tuple[Any, Any]:
            length = tokens.shape[1]
            return (keras.KerasTensor((None, 1, length, length), "float32"),
                    keras.KerasTensor((None, length), "int32"))

    return PackedTexts
