"""From one sequence of tokens to another: an encoder, a decoder, and the attention between them."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from etils import epy
from pydantic import Field

from models import texts
from models.outputs import library_of
from models.recurrent import last_step, lengths, recurrent
from models.registry import register
from models.stepping import gate_by_gate
from models.text_rnn import NOTHING

with epy.lazy_imports():
    import keras
    import tensorflow as tf

#: Of short texts in characters: of what is read, and of what is written.
SHORT: dict[str, Any] = {"length": 40, "vocabulary": 80, "target_length": 48, "target_vocabulary": 80}
#: What the encoder hands to the decoder beside the decoder's first states.
MEMORY, KEYS = "memory", "keys"
Attention = Literal["luong", "bahdanau"]


@register("seq2seq", task="translation", paper="https://arxiv.org/abs/1508.04025", at=SHORT)
def seq2seq(length: int, vocabulary: int, target_length: int, target_vocabulary: int, *,
            cell: Literal["lstm", "gru"] = "lstm", attention: Attention = "luong",
            embedding: Annotated[int, Field(ge=1)] = 64, units: Annotated[int, Field(ge=1)] = 128,
            dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2) -> keras.Model:
    """An encoder that reads a text from both ends, and a decoder that writes another, with attention to what was read.

    Luong, Pham and Manning, "Effective Approaches to Attention-based Neural Machine Translation", 2015: global
    attention with the general score, equations 5 to 8, without input feeding. Or with the score of Bahdanau, Cho and
    Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate", 2015, appendix A.1.2, of the
    decoder's state at the same step in place of the one before. The decoder begins with what a dense layer makes of the
    encoder's last states, Bahdanau's equation in appendix A.2.2.

    With vectors of d numbers, u units, and V and W tokens there are (V + W) d + 3 n (u (u + d) + u) parameters in
    embeddings and LSTMs, n being 4, 2 (2 u + 1) u for the first states, 2 u u for keys, (3 u + 1) u and (u + 1) W;
    Bahdanau's score has u u + u more. For 80 tokens each these are 464,848 with Luong's score, and 16.8 M
    multiply-adds beside those of the products that attention is made of.

    Args:
        length, vocabulary: tokens of a text that is read, and tokens that there are; 0 is padding.
        target_length, target_vocabulary: of what is written.
        cell: of the recurrent layers.
        attention: how well a step of what is read goes with the decoder's state.
        embedding: numbers of a token's vector.
        units: of the encoder in each direction, and of the decoder.
        dropout: share of vectors, and of what the last layer sees, that is dropped in training.
    """
    layers = keras.layers
    tokens = keras.Input((length,), name="tokens", dtype="int32")
    previous = keras.Input((target_length,), name="previous", dtype="int32")

    x = texts.vectors_of(tokens, vocabulary, embedding, dropout)
    memory = recurrent(x, cell=cell, units=(units,), length=lengths(tokens), bidirectional=True, sequences=True)
    summary = layers.Concatenate()([last_step(memory[..., :units], lengths(tokens)), memory[:, 0, units:]])
    names = state_names(cell)
    states = [layers.Dense(units, "tanh", name=name)(summary) for name in names]
    keys = layers.Dense(units, use_bias=False, name=KEYS)(memory)

    y = layers.Embedding(target_vocabulary, embedding, name="target_embedding")(previous)
    y = layers.SpatialDropout1D(dropout)(y) if dropout else y
    kind = layers.LSTM if cell == "lstm" else layers.GRU
    query = kind(units, return_sequences=True, name="decoder")(y, initial_state=states)
    own = _layers(units, target_vocabulary, attention)
    y = attended(query, memory, keys, texts.there(tokens)[..., 0], own)
    y = layers.Dropout(dropout)(y) if dropout else y
    logits = own["logits"](y)
    outputs = {"logits": logits, MEMORY: memory, KEYS: keys, **dict(zip(names, states, strict=True))}
    return keras.Model({"tokens": tokens, "previous": previous}, outputs, name="seq2seq")


def state_names(cell: str) -> list[str]:
    """Return what the decoder's states are called."""
    return ["hidden", "cell"] if cell == "lstm" else ["hidden"]


def _layers(units: int, vocabulary: int, attention: Attention) -> dict[str, Any]:
    """Return the layers behind the decoder, by name."""
    layers = keras.layers
    own = {"combined": layers.Dense(units, "tanh", name="combined"), "logits": layers.Dense(vocabulary, name="logits")}
    if attention == "bahdanau":
        own |= {"query": layers.Dense(units, use_bias=False, name="query"),
                "energy": layers.Dense(1, use_bias=False, name="energy")}
    return own


def attended(query: Any, memory: Any, keys: Any, there: Any, own: dict[str, Any]) -> Any:
    """Return what the decoder says with what it attends to, (batch, steps, units).

    Args:
        query: states of the decoder, (batch, steps, units).
        memory: what the encoder made of each token, (batch, time, 2 units), and keys, (batch, time, units), of it.
        there: 1 for each token that is read, 0 behind the last, (batch, time).
        own: the layers behind the decoder.
    """
    ops = keras.ops
    if "query" in own:
        both = ops.expand_dims(own["query"](query), 2) + ops.expand_dims(keys, 1)
        scores = ops.squeeze(own["energy"](ops.tanh(both)), -1)
    else:
        scores = ops.matmul(query, ops.transpose(keys, (0, 2, 1)))
    weights = ops.softmax(scores + ops.expand_dims((1 - there) * NOTHING, 1), axis=-1)
    return own["combined"](ops.concatenate([ops.matmul(weights, memory), query], axis=-1))


class Parts(NamedTuple):
    """A trained model in two.

    Args:
        sizes: the shapes of memory, keys and the states, by name, in the order that the model gives them.
        states: the names of the states.
        encode: from tokens, int32 (batch, length), to memory, keys, the first states and `there`, by name.
        step: from a token, (batch,), and all that `encode` gives, by name, to logits, (batch, vocabulary), and states.
    """

    sizes: dict[str, tuple[int, ...]]
    states: Sequence[str]
    encode: Callable[[Any], dict[str, Any]]
    step: Callable[..., dict[str, Any]]


def parts(model: Any) -> Parts:
    """Return the encoder and one step of the decoder of a model that `seq2seq` built.

    Args:
        model: of Keras 3 or tf_keras, or one that was rewritten for its export.
    """
    outputs, inputs = model.output, model.input
    names = [name for name in ("hidden", "cell") if name in outputs]
    kept = [MEMORY, KEYS, *names]
    library = library_of(model)
    encoder = library.Model(inputs["tokens"], {name: outputs[name] for name in kept})
    own = {name: model.get_layer(name) for name in ("combined", "logits", "query", "energy")
           if any(layer.name == name for layer in model.layers)}
    vectors, decoder = model.get_layer("target_embedding"), model.get_layer("decoder")
    cell = decoder.cell if hasattr(decoder, "cell") else decoder.layer.cell

    def encode(tokens: Any) -> dict[str, Any]:
        result = encoder(tokens, training=False)
        return {**result, "there": tf.cast(tf.not_equal(tokens, 0), tf.float32)}

    def step(token: Any, memory: Any, keys: Any, there: Any, **states: Any) -> dict[str, Any]:
        x = tf.gather(tf.convert_to_tensor(vectors.embeddings), token)
        query, after = gate_by_gate(cell, x, [states[name] for name in names])
        y = attended(query[:, None], memory, keys, there, own)
        return {"logits": own["logits"](y)[:, 0], **dict(zip(names, after, strict=True))}

    return Parts({name: tuple(outputs[name].shape[1:]) for name in kept}, names, encode, step)
