"""Transformers that read a text and write another, in two: what encodes, and one step of what decodes."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etils import epy

from models.decoding import WRITTEN, CachedStack
from models.outputs import library_of
from models.seq2seq import Parts

with epy.lazy_imports():
    import keras
    import tensorflow as tf

#: What the blocks' names begin with, and the layer that has a vector of each token that is written.
ENCODER, DECODER, VECTORS = "encoder", "decoder", "target_embedding"


def with_memory(model: keras.Model, depth: int) -> keras.Model:
    """Return a model that gives beside its logits what the encoder hands to the decoder."""
    handed = {name: model.get_layer(layer).output for name, layer in handed_on(depth).items()}
    return keras.Model(model.input, {**model.output, **handed}, name=model.name)


def handed_on(depth: int) -> dict[str, str]:
    """Return what the encoder hands to the decoder: the keys and values that each block makes of what was read, by
    their names the layers that make them."""
    return {f"memory_{part}_{number}": f"{DECODER}_{number}_memory_{part}" for number in range(depth)
            for part in ("key", "value")}


def parts(model: Any, masked: float, vector: Callable[[Any, Any], Any], logits: Callable[[Any], Any],
          bias: Callable[[Any], Any] = lambda written: None) -> Parts:
    """Return the encoder and one step of the decoder of a model with memory.

    Args:
        model: of Keras 3 or tf_keras, or one that was rewritten for its export.
        masked: what is added to the score of what must not be seen.
        vector: from tokens, (batch,), and which positions were written, (batch, length), to vectors, (batch, 1, units).
        logits: from what the last block gives, (batch, 1, units), to logits, (batch, 1, vocabulary).
        bias: from which positions were written to what is added to the scores of the tokens kept.
    """
    outputs, inputs = model.output, model.input
    steps = CachedStack(model, DECODER, inputs["previous"].shape[1])
    memory = [name for name in outputs if name.startswith("memory_")]
    library = library_of(model)
    encoder = library.Model(inputs["tokens"], {name: outputs[name] for name in memory})

    def encode(tokens: Any) -> dict[str, Any]:
        there = tf.cast(tf.not_equal(tokens, 0), tf.float32)
        return {**encoder(tokens, training=False), **steps.begin(tf.shape(tokens)[0]), "there": there}

    def step(token: Any, there: Any, written: Any, **states: Any) -> dict[str, Any]:
        unseen = (1 - there)[:, None, None] * masked
        y, after = steps.step(vector(token, written), {WRITTEN: written, **states}, bias=bias(written),
                              memory_bias=unseen)
        return {"logits": logits(y)[:, 0], **after}

    sizes = {name: tuple(outputs[name].shape[1:]) for name in memory}
    return Parts({**sizes, **steps.sizes}, list(steps.sizes), encode, step)
