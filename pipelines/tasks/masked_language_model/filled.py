"""What is asked of a server's masked language model: texts with their blanks filled in."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etils import epy

from export.signature import Function, Signature
from pipelines.features.masked_text import BLANK, MaskedText
from pipelines.features.masking import SPECIAL
from pipelines.features.tokenizers.mask import MASK
from pipelines.tasks.text_serving import TEXT, text_tensor

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

#: The signature, and what it gives.
FILL, FILLED = "fill", "filled"


def fill(function: Function, data: Data, text: MaskedText) -> Function:
    """Return the function from texts with blanks, string (batch,), to the texts with the likeliest token in each,
    string (batch,), as the vocabulary writes them.

    Args:
        function: from tokens and places to logits.
    """
    tokens, places = (tensor.name for tensor in function.signature.inputs)
    learnt = data.index.learnt[tokens]
    barred = np.zeros(len(learnt.names), np.float32)
    barred[:SPECIAL + 1] = -np.inf
    signature = Signature(name=FILL, inputs=(text_tensor(meaning=f"{BLANK} stands where tokens are missing, UTF-8"),),
                          outputs=(text_tensor(FILLED, "the text with the likeliest tokens, UTF-8"),))

    def call(**tensors: Any) -> dict[str, Any]:
        read, at = tf.map_fn(lambda one: text.blanked(one, learnt), tensors[TEXT], fn_output_signature=(
            tf.TensorSpec([text.length], tf.int32), tf.TensorSpec([text.guesses], tf.int32)))
        (logits,) = function.call(**{tokens: read, places: at}).values()
        best = tf.argmax(logits + barred, axis=-1, output_type=tf.int32)
        blanks = tf.reduce_sum(tf.cast(read == MASK, tf.int32), axis=1, keepdims=True)
        there = tf.cast(tf.range(text.guesses) < blanks, tf.int32)  # behind them stands place 0, which may be a blank
        said = tf.one_hot(at, text.length, dtype=tf.int32) * there[..., None]
        written = tf.reduce_sum(said * best[..., None], axis=1)
        return {FILLED: text.texts(tf.where(written > 0, written, read), learnt)}

    return Function(signature, call)
