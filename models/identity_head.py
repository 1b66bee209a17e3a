"""The head that embeddings are trained under: a vector for each identity, of which no model that ships has any."""
from __future__ import annotations

from etils import epy

from models.embedding import EMBEDDING
from models.outputs import named_outputs

with epy.lazy_imports():
    import keras

#: The name of the output, and of the layer.
COSINES = "cosines"


def with_identities(model: keras.Model, count: int) -> keras.Model:
    """Return a model of embeddings with their cosines to a vector of each identity beside them. It shares layers.

    The vectors are columns of a dense layer's kernel, kept at the length 1 by its constraint, in float32 since margins
    are small angles. They are variables of the model: trained, written to checkpoints and read back as all others.

    Args:
        model: with an output `embedding`, (batch, size), of length 1.
        count: of identities.

    Returns:
        A model that gives `embedding` and `cosines`, (batch, identities).
    """
    vectors = named_outputs(model)[EMBEDDING]
    head = keras.layers.Dense(count, use_bias=False, name=COSINES, dtype="float32",
                              kernel_constraint=keras.constraints.UnitNorm(axis=0))
    cosines = head(vectors)
    head.kernel.assign(head.kernel_constraint(head.kernel))
    return keras.Model(model.input, {EMBEDDING: vectors, COSINES: cosines}, name=model.name)
