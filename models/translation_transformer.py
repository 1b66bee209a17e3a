"""The first Transformer: an encoder and a decoder that translate."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks, encoder_decoder
from models.attention import MASKED, padding_mask
from models.decoding import following
from models.encoder_decoder import DECODER, ENCODER, VECTORS, with_memory
from models.positions import sines
from models.registry import register
from models.seq2seq import SHORT, Parts
from models.transformer import Activation, Block, Size, embedding, stack

with epy.lazy_imports():
    import keras
    import tensorflow as tf

PAPER = "https://arxiv.org/abs/1706.03762"
#: English and German sentences in 37,000 pieces that both share (section 5.1).
AT: dict[str, Any] = {"length": 256, "vocabulary": 37_000, "target_length": 256, "target_vocabulary": 37_000}


def size(length: int, vocabulary: int, target_length: int, target_vocabulary: int, *, depth: int, units: int,
         heads: int, hidden: int | None, activation: Activation, norm_first: bool, tied: bool, shared: bool,
         dropout: float) -> Size:
    """Return how large a model of `transformer` is, whose arguments these are."""
    block = _block(units, heads, hidden, activation, norm_first, dropout)
    tables = (0 if shared else vocabulary) + target_vocabulary * (1 if tied else 2)
    others = Size(tables * units, target_length * target_vocabulary * units)
    return others + block.stack_size(depth, length) + block.stack_size(depth, target_length, length)


@register("transformer", task="translation", paper=PAPER, at=SHORT, closed_form=size)
@register("transformer_base", task="translation", paper=PAPER, at=AT, closed_form=size, depth=6, units=512, heads=8,
          shared=True)
@register("transformer_big", task="translation", paper=PAPER, at=AT, closed_form=size, depth=6, units=1024, heads=16,
          shared=True)
def transformer(length: int, vocabulary: int, target_length: int, target_vocabulary: int, *,
                depth: Annotated[int, Field(ge=1)] = 2, units: Annotated[int, Field(ge=2, multiple_of=2)] = 128,
                heads: Annotated[int, Field(ge=1)] = 4, hidden: Annotated[int, Field(ge=1)] | None = None,
                activation: Activation = "relu", norm_first: bool = False, tied: bool = True, shared: bool = False,
                dropout: blocks.Dropout = 0.1) -> keras.Model:
    """A Transformer that reads a text, and one that writes another and looks at what was read.

    Vaswani et al., "Attention Is All You Need", 2017: vectors of tokens times the root of their units, and sines for
    their positions (section 3.5); normalization behind each part; ReLU; logits by the vectors of the tokens that are
    written (section 3.4). Its dense layers of attention have biases, as in most code that came after.

    With V tokens that are read and W written, d units, h hidden ones and L blocks on each side there are (V + W) d +
    L (12 d^2 + 4 d h + 2 h + 24 d) parameters, V being left out where vectors are shared: transformer 946,176 and 43.8
    M multiply-adds for 40 characters that are read and 48 that are written, transformer_base 63,082,496 and 17.3 G for
    256 tokens each, transformer_big 214,245,376.

    Args:
        length, vocabulary: tokens of a text that is read, and tokens that there are; 0 is padding.
        target_length, target_vocabulary: of what is written.
        depth: blocks of the encoder, and of the decoder.
        units: of a token; a multiple of `heads`, and even.
        heads: of the attention.
        hidden: units of the feed-forward part; 4 times those of a token where not given.
        activation: of the feed-forward part.
        norm_first: normalization before each part and behind the last block, which learns without a slow start.
        tied: logits are made by the vectors of the tokens, else by a layer of their own.
        shared: what is read and what is written have the same vocabulary, and one vector for a token.
        dropout: rate on vectors, the weights of attention and what each part adds.

    Raises:
        ValueError: the units do not divide among the heads, or vocabularies that are one differ.
    """
    block = _block(units, heads, hidden, activation, norm_first, dropout)
    block.check("transformer")
    if shared and vocabulary != target_vocabulary:
        raise ValueError(f"transformer: what is read has {vocabulary} tokens and what is written {target_vocabulary}; "
                         "they share vectors only where the vocabulary is one: leave shared out")
    tokens = keras.Input((length,), name="tokens", dtype="int32")
    previous = keras.Input((target_length,), name="previous", dtype="int32")
    vectors = embedding(target_vocabulary, units, units**-0.5, VECTORS)
    read = vectors if shared else embedding(vocabulary, units, units**-0.5)
    unseen = padding_mask(tokens)
    memory = stack(_placed(read(tokens), dropout), block, depth, ENCODER, bias=unseen)
    y = stack(_placed(vectors(previous), dropout), block, depth, DECODER, causal=True, memory=memory,
              memory_bias=unseen)
    if tied:
        logits = vectors(y, reverse=True)
    else:
        logits = keras.layers.Dense(target_vocabulary, use_bias=False, name="logits")(y)
    model = keras.Model({"tokens": tokens, "previous": previous}, {"logits": logits}, name="transformer")
    return with_memory(model, depth)


def parts(model: Any) -> Parts:
    """Return the encoder and one step of the decoder of a model that `transformer` built.

    Args:
        model: of Keras 3 or tf_keras, or one that was rewritten for its export.
    """
    vectors, layers = model.get_layer(VECTORS), {layer.name: layer for layer in model.layers}

    def vector(token: Any, written: Any) -> Any:
        x = tf.gather(tf.convert_to_tensor(vectors.embeddings), token)
        length, units = written.shape[1], x.shape[-1]
        return (x * units**0.5 + tf.matmul(following(written), sines(length, units)[0]))[:, None]

    def logits(y: Any) -> Any:
        head = layers.get("logits")
        return vectors(y, reverse=True) if head is None else head(y)

    return encoder_decoder.parts(model, MASKED, vector, logits)


def _placed(x: Any, dropout: float) -> Any:
    """Return vectors of tokens with their positions, (batch, length, units)."""
    length, units = x.shape[1:]
    x = x * units**0.5 + sines(length, units)
    return keras.layers.Dropout(dropout)(x) if dropout else x


def _block(units: int, heads: int, hidden: int | None, activation: Activation, norm_first: bool,
           dropout: float) -> Block:
    return Block(units, heads, hidden or 4 * units, activation=activation, epsilon=1e-6, first=norm_first,
                 dropout=dropout, attention_dropout=dropout, deviation=None)
