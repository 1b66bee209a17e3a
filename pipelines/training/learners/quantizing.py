"""The learner of autoencoders with a codebook."""
from __future__ import annotations

from typing import Any

from etils import epy

from models import vqvae as models
from models.vqvae import CODES, CONDITION, GENERATED, IMAGE, LOGITS_OF_CODES, QUANTIZED, VECTORS
from pipelines.training.learners.supervised import no_penalty, supervised

with epy.lazy_imports():
    import tensorflow as tf


class _Held:
    """The parts of a model, in an object that Keras does not search for variables: they are the learner's already."""

    def __init__(self, parts: models.Parts, codebook: Any):
        self.parts = parts
        self.codebook = codebook


def quantizing(library: Any) -> type:
    """Return the class of learners of keras or tf_keras in which images go through the nearest vectors of the codebook.

    Gradients of the picture go on to what the encoder says as if it were the vector that is taken in its place (van den
    Oord et al. 2017, section 3.2); the prior learns the codes as they are.
    """
    base: Any = supervised(library)

    class Quantizing(base):
        """A model whose decoder is given, while it is fitted, what the codebook has nearest."""

        def prepare(self, objective: Any, watched: Any, penalty: Any = no_penalty) -> Quantizing:
            self._held = _Held(models.parts(self), self.get_layer(models.CODEBOOK))
            return super().prepare(objective, watched, penalty)

        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> dict[str, Any]:
            parts, table = self._held.parts, tf.convert_to_tensor(self._held.codebook.embeddings)
            said = parts.encoder(inputs[IMAGE], training=training)[VECTORS]
            codes = nearest(said, table)
            vectors = tf.reshape(tf.gather(table, codes), tf.shape(said))
            through = said + tf.stop_gradient(vectors - said)
            asked = {CODES: codes, **{name: value for name, value in inputs.items() if name == CONDITION}}
            return {**parts.decoder(tf.ensure_shape(through, said.shape), training=training), VECTORS: said,
                    QUANTIZED: vectors, CODES: codes,
                    LOGITS_OF_CODES: parts.prior(asked, training=training)[LOGITS_OF_CODES]}

        def pictures(self, inputs: Any) -> Any:
            """Return images made again of their codes, 0..255 (batch, height, width, channels)."""
            tensors = {name: tf.convert_to_tensor(values) for name, values in inputs.items()}
            return self(tensors, training=False)[GENERATED]

        @staticmethod
        def shipped(model: Any, outputs: Any) -> Any:
            """Return the whole model: all of its parts ship."""
            return model

    return Quantizing


def nearest(vectors: Any, table: Any) -> Any:
    """Return the numbers of the nearest vectors of a codebook, int32 (batch, places).

    Args:
        vectors: (batch, rows, columns, size).
        table: (codes, size).
    """
    rows = tf.reshape(vectors, [tf.shape(vectors)[0], vectors.shape[1] * vectors.shape[2], 1, table.shape[1]])
    return tf.argmin(tf.reduce_sum(tf.square(rows - table), axis=-1), axis=-1, output_type=tf.int32)
