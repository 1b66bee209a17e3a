"""FT-Transformer."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import columns as tables
from models.columns import Columns, Target
from models.registry import register

with epy.lazy_imports():
    import keras


@register("ft_transformer", task="tabular", paper="https://arxiv.org/abs/2106.11959",
          at={"columns": tables.numeric_columns(8), "target": Target()})
def ft_transformer(columns: Columns, target: Target, *, depth: Annotated[int, Field(ge=1)] = 3,
                   units: Annotated[int, Field(ge=1)] = 192, heads: Annotated[int, Field(ge=1)] = 8,
                   hidden: Annotated[float, Field(gt=0)] = 4 / 3,
                   attention_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
                   dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
                   residual_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0) -> keras.Model:
    """A Transformer whose tokens are the columns.

    Gorishniy, Rubachev, Khrulkov and Babenko, "Revisiting Deep Learning Models for Tabular Data", 2021, section 3.3 and
    appendix E: feature tokenizer, a CLS token, PreNorm blocks without the very first normalization, ReGLU, and a head
    of normalization, ReLU and a linear layer on the CLS token; the defaults are those of the paper's appendix.
    With tokens of d units and h = floor(4 d / 3), f columns of numbers have d (2 f + 1) parameters with the CLS token,
    each block 4 d (d + 1) + 2 h (d + 1) + d (h + 1), normalizations 4 d a block, and the head d k + k for k outputs:
    894,913 for 8 numbers, 3 blocks of 192 units and one output, and 8.1 M multiply-adds.

    Args:
        columns: of the table.
        target: what is learnt.
        depth: blocks.
        units: of a token; a multiple of `heads`.
        hidden: width of the feed-forward part, as a share of `units`.
        attention_dropout: rate on the attention's weights.
        dropout: rate within the feed-forward part.
        residual_dropout: rate on what each residual branch adds.

    Raises:
        ValueError: the units do not divide among the heads.
    """
    if units % heads:
        raise ValueError(f"ft_transformer: {units} units do not divide among {heads} heads; give a multiple of {heads}")
    layers = keras.layers
    taken = tables.inputs(columns)
    x = _tokens(taken, columns, units)
    for block in range(depth):
        normalized = layers.LayerNormalization(epsilon=1e-5)(x) if block else x
        attended = layers.MultiHeadAttention(heads, units // heads, dropout=attention_dropout)(normalized, normalized)
        x = layers.Add()([x, layers.Dropout(residual_dropout)(attended)])
        fed = _reglu(layers.LayerNormalization(epsilon=1e-5)(x), units, int(units * hidden), dropout)
        x = layers.Add()([x, layers.Dropout(residual_dropout)(fed)])
    cls = layers.Activation("relu")(layers.LayerNormalization(epsilon=1e-5)(x[:, 0]))
    return keras.Model(taken.given, tables.answer(layers.Dense(target.outputs, name="head")(cls), target),
                       name="ft_transformer")


def _tokens(taken: tables.Inputs, columns: Columns, units: int) -> Any:
    """Return the CLS token and one for each column, (batch, 1 + columns, units): x W + b of a number, a vector of each
    word of a category; all begin uniformly between -1 / sqrt(units) and 1 / sqrt(units)."""
    layers = keras.layers
    bound = units**-0.5

    def uniform() -> Any:
        return keras.initializers.RandomUniform(-bound, bound)

    first = next(iter((taken.numbers | taken.words).values()))
    zero = keras.ops.cast(keras.ops.zeros_like(first), "int32")
    tokens = [layers.Embedding(1, units, embeddings_initializer=uniform(), name="cls_token")(zero)]
    for column in columns.each:
        name = f"{column.name}_token"
        if column.words:
            vector = layers.Embedding(max(2, column.words), units, embeddings_initializer=uniform(), name=name)
            tokens.append(vector(taken.words[column.name]))
        else:
            scaled = layers.Dense(units, kernel_initializer=uniform(), bias_initializer=uniform(), name=name)
            tokens.append(layers.Reshape((1, units))(scaled(taken.numbers[column.name])))
    return tables.side_by_side(tokens, axis=1)


def _reglu(x: Any, units: int, hidden: int, dropout: float) -> Any:
    """Return the feed-forward part: W2 dropout(a relu(b)), where a and b are linear in x (Shazeer 2020)."""
    layers = keras.layers
    gated = layers.Multiply()([layers.Dense(hidden)(x), layers.Dense(hidden, "relu")(x)])
    return layers.Dense(units)(layers.Dropout(dropout)(gated))
