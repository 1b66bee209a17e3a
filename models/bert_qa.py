"""BERT that marks where in a text a question is answered."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks, texts
from models.attention import padding_mask
from models.positions import learned
from models.registry import register
from models.transformer import Block, Size, embedding, stack

with epy.lazy_imports():
    import keras

PAPER = "https://arxiv.org/abs/1810.04805"
#: What the paper's models see of question and text at once, and how many pieces of words they know.
AT: dict[str, Any] = {"length": 384, "vocabulary": 30_522}
#: Question and text, the two segments, and the token that stands behind each of them.
SEGMENTS, END = 2, 3
#: The first token of an answer, and its last.
ENDS = 2


def size(length: int, vocabulary: int, *, depth: int, units: int, heads: int, hidden: int | None,
         dropout: float) -> Size:
    """Return how large a model of `bert_qa` is, whose arguments these are."""
    block = _block(units, heads, hidden, dropout)
    vectors = Size((vocabulary + length + SEGMENTS) * units + block.norm_size(), 0)
    return vectors + block.stack_size(depth, length) + Size(ENDS * (units + 1), ENDS * units * length)


@register("bert_qa", task="question_answering", paper=PAPER, at=AT, closed_form=size)
def bert_qa(length: int, vocabulary: int, *, depth: Annotated[int, Field(ge=1)] = 2,
            units: Annotated[int, Field(ge=1)] = 128, heads: Annotated[int, Field(ge=1)] = 2,
            hidden: Annotated[int, Field(ge=1)] | None = None, dropout: blocks.Dropout = 0.1) -> keras.Model:
    """A Transformer encoder that reads a question and a text, and gives each token a score for being the answer's first
    one, and one for being its last.

    Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019, section
    4.2: the question is the first segment, and the text the second one, which begins behind the first token 3. Layers
    are called as those of `bert`.

    With V pieces of words, T positions, d units and L blocks there are (V + T + 4) d + L (12 d^2 + 13 d) + 2 d + 2
    parameters, and L (12 d^2 T + 2 T^2 d) + 2 d T multiply-adds: 4,353,282 and 226.6 M for 384 tokens.

    Args:
        length: tokens of question and text together.
        vocabulary: tokens that there are; 0 is padding, which nothing looks at.
        depth: blocks.
        units: of a token; a multiple of `heads`.
        heads: of the attention.
        hidden: units of the feed-forward part; 4 times those of a token where not given.
        dropout: rate on vectors, the weights of attention, what each part adds and what the head sees.

    Raises:
        ValueError: the units do not divide among the heads.
    """
    block = _block(units, heads, hidden, dropout)
    block.check("bert_qa")
    layers = keras.layers
    tokens = texts.tokens_of(length)
    segment = layers.Embedding(SEGMENTS, units, name="segments",
                               embeddings_initializer=keras.initializers.RandomNormal(stddev=0.02))
    x = embedding(vocabulary, units)(tokens) + learned(tokens, units) + segment(segments(tokens))
    x = block.normalization("embedding_norm")(x)
    x = layers.Dropout(dropout)(x) if dropout else x
    x = stack(x, block, depth, "block", bias=padding_mask(tokens))
    x = layers.Dropout(dropout)(x) if dropout else x
    scores = block.dense(ENDS, "scores")(x)
    return keras.Model(tokens, layers.Permute((2, 1), name="logits")(scores), name="bert_qa")


def segments(tokens: Any) -> Any:
    """Return 0 for each token up to the first 3, which ends the question, and 1 behind it, int32 (batch, length)."""
    ops = keras.ops
    ended = ops.cast(ops.equal(tokens, END), "int32")
    before = ops.cumsum(ended, axis=1) - ended
    return ops.minimum(before, 1)


def _block(units: int, heads: int, hidden: int | None, dropout: float) -> Block:
    # the paper's deviation, 0.02, is for 768 units and more: narrow models that begin with it do not learn to use the
    # question, since what attention brings of it to the text is too small
    return Block(units, heads, hidden or 4 * units, epsilon=1e-12, first=False, dropout=dropout,
                 attention_dropout=dropout, deviation=None)
