"""T5: an encoder and a decoder that know how far tokens are from each other."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks, encoder_decoder
from models.attention import MASKED_UNSCALED, padding_mask
from models.decoding import following
from models.encoder_decoder import DECODER, ENCODER, VECTORS, with_memory
from models.positions import buckets, relative
from models.registry import register
from models.seq2seq import SHORT, Parts
from models.transformer import Activation, Block, Size, embedding, stack

with epy.lazy_imports():
    import keras
    import tensorflow as tf

PAPER = "https://arxiv.org/abs/1910.10683"
#: What the paper's models read and write at once, and how many pieces of words they know.
AT: dict[str, Any] = {"length": 512, "vocabulary": 32_128, "target_length": 512, "target_vocabulary": 32_128}
#: Buckets of distances, and the distance from which on all are in the last one (section 2.1).
BUCKETS, MOST = 32, 128


def size(length: int, vocabulary: int, target_length: int, target_vocabulary: int, *, depth: int, units: int,
         heads: int, head_width: int | None, hidden: int | None, activation: Activation, gated: bool, tied: bool,
         shared: bool, dropout: float) -> Size:
    """Return how large a model of `t5` is, whose arguments these are."""
    block = _block(units, heads, head_width, hidden, activation, gated, dropout)
    tables = (0 if shared else vocabulary) + target_vocabulary * (1 if tied else 2)
    others = Size(tables * units + 2 * BUCKETS * heads, target_length * target_vocabulary * units)
    memory = block.stack_size(depth, target_length, length)
    return others + block.stack_size(depth, length) + memory


@register("t5", task="translation", paper=PAPER, at=SHORT, closed_form=size)
@register("t5_small", task="translation", paper=PAPER, at=AT, closed_form=size, depth=6, units=512, heads=8,
          hidden=2048, head_width=64, shared=True)
@register("t5_base", task="translation", paper=PAPER, at=AT, closed_form=size, depth=12, units=768, heads=12,
          hidden=3072, head_width=64, shared=True)
@register("t5_large", task="translation", paper=PAPER, at=AT, closed_form=size, depth=24, units=1024, heads=16,
          hidden=4096, head_width=64, shared=True)
@register("t5_3b", task="translation", paper=PAPER, at=AT, closed_form=size, depth=24, units=1024, heads=32,
          hidden=16_384, head_width=128, shared=True)
@register("t5_11b", task="translation", paper=PAPER, at=AT, closed_form=size, depth=24, units=1024, heads=128,
          hidden=65_536, head_width=128, shared=True)
def t5(length: int, vocabulary: int, target_length: int, target_vocabulary: int, *,
       depth: Annotated[int, Field(ge=1)] = 2, units: Annotated[int, Field(ge=1)] = 128,
       heads: Annotated[int, Field(ge=1)] = 4, head_width: Annotated[int, Field(ge=1)] | None = None,
       hidden: Annotated[int, Field(ge=1)] | None = None, activation: Activation = "relu", gated: bool = False,
       tied: bool = True, shared: bool = False, dropout: blocks.Dropout = 0.1) -> keras.Model:
    """A Transformer that reads a text, and one that writes another and looks at what was read, as T5 is.

    Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020, section
    2.1: normalization by the root of the mean square before each part and behind the last, no biases, scores that are
    not scaled, and what is added to them by the distance, the same in all blocks of the encoder, and of the decoder.
    With `gated`, `activation: gelu_tanh` and without `tied` it is as T5.1.1.

    With V tokens that are read and W written, d units, H heads of w units, h hidden ones and L blocks on each side
    there are (V + W) d + 64 H + L (12 d w H + 4 d h + 5 d) + 2 d parameters, V being left out where vectors are shared:
    t5 939,776 and 43.8 M multiply-adds for 40 characters that are read and 48 that are written, t5_small 60,506,624 and
    35.8 G for 512 tokens each, t5_base 222,903,552, t5_large 737,668,096, t5_3b 2,851,598,336 and t5_11b
    11,307,321,344.

    Args:
        length, vocabulary: tokens of a text that is read, and tokens that there are; 0 is padding.
        target_length, target_vocabulary: of what is written.
        depth: blocks of the encoder, and of the decoder.
        units: of a token; a multiple of `heads` where no width of heads is given.
        heads: of the attention.
        head_width: units of a head.
        hidden: units of the feed-forward part; 4 times those of a token where not given.
        activation: of the feed-forward part.
        gated: it multiplies two dense layers.
        tied: logits are made by the vectors of the tokens, else by a layer of their own.
        shared: what is read and what is written have the same vocabulary, and one vector for a token.
        dropout: rate on vectors, the weights of attention, what each part adds, and what each side gives.

    Raises:
        ValueError: the units do not divide among the heads, or vocabularies that are one differ.
    """
    block = _block(units, heads, head_width, hidden, activation, gated, dropout)
    block.check("t5")
    if shared and vocabulary != target_vocabulary:
        raise ValueError(f"t5: what is read has {vocabulary} tokens and what is written {target_vocabulary}; they "
                         "share vectors only where the vocabulary is one: leave shared out")
    tokens = keras.Input((length,), name="tokens", dtype="int32")
    previous = keras.Input((target_length,), name="previous", dtype="int32")
    vectors = embedding(target_vocabulary, units, 1.0, VECTORS)
    read = vectors if shared else embedding(vocabulary, units, 1.0)
    unseen = padding_mask(tokens, MASKED_UNSCALED)

    distances = relative(tokens, buckets(length, length, BUCKETS, MOST, both=True), BUCKETS, heads, "encoder_distances")
    memory = stack(_dropped(read(tokens), dropout), block, depth, ENCODER, bias=distances + unseen)
    memory = _dropped(memory, dropout)

    numbers = buckets(target_length, target_length, BUCKETS, MOST, both=False)
    distances = relative(previous, numbers, BUCKETS, heads, "decoder_distances")
    y = stack(_dropped(vectors(previous), dropout), block, depth, DECODER, bias=distances, causal=True, memory=memory,
              memory_bias=unseen)
    y = _dropped(y, dropout)
    model = keras.Model({"tokens": tokens, "previous": previous},
                        {"logits": _logits(y, vectors, target_vocabulary, tied)}, name="t5")
    return with_memory(model, depth)


def parts(model: Any) -> Parts:
    """Return the encoder and one step of the decoder of a model that `t5` built.

    Args:
        model: of Keras 3 or tf_keras, or one that was rewritten for its export.
    """
    vectors, layers = model.get_layer(VECTORS), {layer.name: layer for layer in model.layers}
    length = model.input["previous"].shape[1]
    numbers = buckets(length, length, BUCKETS, MOST, both=False)

    def vector(token: Any, written: Any) -> Any:
        return tf.gather(tf.convert_to_tensor(vectors.embeddings), token)[:, None]

    def distances(written: Any) -> Any:
        table = tf.gather(tf.convert_to_tensor(layers["decoder_distances"].embeddings), numbers)
        rows = tf.reshape(tf.transpose(table, (0, 2, 1)), (length, -1))
        return tf.reshape(tf.matmul(following(written), rows), (-1, table.shape[2], 1, length))

    def logits(y: Any) -> Any:
        head = layers.get("logits")
        return vectors(y * y.shape[-1]**-0.5, reverse=True) if head is None else head(y)

    return encoder_decoder.parts(model, MASKED_UNSCALED, vector, logits, distances)


def _logits(x: Any, vectors: Any, vocabulary: int, tied: bool) -> Any:
    if tied:
        return vectors(x * x.shape[-1]**-0.5, reverse=True)
    initializer = keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")
    return keras.layers.Dense(vocabulary, use_bias=False, kernel_initializer=initializer, name="logits")(x)


def _dropped(x: Any, rate: float) -> Any:
    return keras.layers.Dropout(rate)(x) if rate else x


def _block(units: int, heads: int, head_width: int | None, hidden: int | None, activation: Activation, gated: bool,
           dropout: float) -> Block:
    return Block(units, heads, hidden or 4 * units, head_width=head_width, activation=activation, gated=gated,
                 norm="rms", epsilon=1e-6, biased=False, scaled=False, dropout=dropout, attention_dropout=dropout,
                 deviation=None)
