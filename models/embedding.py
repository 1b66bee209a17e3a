"""What models that give embeddings have in common: a vector of length 1, whose products are cosines."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

with epy.lazy_imports():
    import keras

#: The dimensions of papers on faces: aligned, (height, width, channels) in pixels.
FACE: dict[str, Any] = {"input_shape": (112, 112, 3)}
#: The name of the output.
EMBEDDING = "embedding"
#: Added to a squared length: a vector of zeros is not divided by zero.
EPSILON = 1e-12
EmbeddingSize = Annotated[int, Field(ge=2)]


def embedding(x: Any) -> Any:
    """Return vectors (batch, size) of length 1 in their directions; it is part of the graph, so that every file gives
    them so."""
    squares = keras.ops.sum(keras.ops.square(x), axis=-1, keepdims=True)
    # in this order of operations TFLite's converter makes one operator of them, which has an integer form
    return keras.layers.Multiply(name=EMBEDDING)([x, keras.ops.rsqrt(squares + EPSILON)])
