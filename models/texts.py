"""What models of texts begin with: tokens of a fixed length, padded with 0, and their vectors."""
from __future__ import annotations

from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras

#: Of sentences: tokens of a text, tokens of the vocabulary, and classes.
SENTENCES: dict[str, Any] = {"length": 64, "vocabulary": 20_000, "classes": 2}


def tokens_of(length: int) -> Any:
    """Return the input of a model: numbers of tokens, int32 (batch, length)."""
    return keras.Input((length,), name="tokens", dtype="int32")


def vectors_of(tokens: Any, vocabulary: int, units: int, dropout: float) -> Any:
    """Return the vectors of tokens, (batch, length, units), which are learnt, and begin uniformly between -0.05 and
    0.05.

    Args:
        dropout: share of the numbers of all vectors of a text that are dropped in training.
    """
    vectors = keras.layers.Embedding(vocabulary, units, name="embedding")(tokens)
    return keras.layers.SpatialDropout1D(dropout)(vectors) if dropout else vectors


def there(tokens: Any) -> Any:
    """Return 1 for each token and 0 for the padding, float32 (batch, length, 1)."""
    return keras.ops.expand_dims(keras.ops.cast(keras.ops.not_equal(tokens, 0), "float32"), -1)
