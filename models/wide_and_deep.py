"""Wide & Deep learning."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import columns as tables
from models.columns import Columns, Inputs, Target
from models.registry import register

with epy.lazy_imports():
    import keras

#: Positions of a cross-product of two columns, at most.
LARGEST_CROSS = 1_000_000


@register("wide_and_deep", task="tabular", paper="https://arxiv.org/abs/1606.07792",
          at={"columns": tables.numeric_columns(8), "target": Target(classes=2)})
def wide_and_deep(columns: Columns, target: Target, *,
                  units: Annotated[tuple[int, ...], Field(min_length=1)] = (1024, 512, 256),
                  dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
                  embedding: Annotated[int, Field(ge=1)] = 32,
                  crosses: tuple[tuple[str, str], ...] = ()) -> keras.Model:
    """A linear model and a deep one, added before the output.

    Cheng et al., "Wide & Deep Learning for Recommender Systems", 2016: the wide part is linear in standardized numbers,
    words one-hot, and cross-products of words; the deep part embeds words in 32 numbers and has ReLU layers of 1024,
    512 and 256 units, as in the paper's figure 4. On f features (f + 1) 1024 + 1025 * 512 + 513 * 256 + 256 k
    parameters of the deep part, and (f + 1) k of the wide one, for k outputs, where all columns are numbers: of 8
    numbers and two classes 665,874, and 0.66 M multiply-adds. The wide part begins at zero.

    Args:
        columns: of the table.
        target: what is learnt.
        units: of each deep layer.
        dropout: rate after each deep layer.
        embedding: features of a word in the deep part, at most; half of the vocabulary where that is less.
        crosses: pairs of category columns whose every combination has a weight of its own in the wide part.

    Raises:
        ValueError: a cross is of a column that is not a category, or has too many combinations.
    """
    layers = keras.layers
    taken = tables.inputs(columns)
    x = tables.hidden(tables.embedded(taken, columns, embedding), units, dropout, "deep")
    deep = layers.Dense(target.outputs, use_bias=False, name="deep_head")(x)
    parts = [deep, *_wide(taken, columns, target, crosses)]
    return keras.Model(taken.given, tables.answer(layers.Add(name="wide_and_deep_sum")(parts), target),
                       name="wide_and_deep")


def _wide(taken: Inputs, columns: Columns, target: Target, crosses: Sequence[tuple[str, str]]) -> list[Any]:
    """Return what the wide part adds to the output, part by part, each (batch, outputs)."""
    layers = keras.layers
    numbers = list(taken.numbers.values())
    words = {column.name: column.words for column in columns.each if column.words}
    parts: list[Any] = []
    if numbers:
        wide = layers.Dense(target.outputs, kernel_initializer="zeros", name="wide")
        parts.append(wide(tables.side_by_side(numbers)))
    positions = [(name, taken.words[name], count) for name, count in words.items()]
    for first, second in crosses:
        for name in (first, second):
            if name not in words:
                raise ValueError(f"wide_and_deep: {name} is crossed and is not a category; there are "
                                 f"{', '.join(words) or 'none'}")
        count = words[first] * words[second]
        if count > LARGEST_CROSS:
            raise ValueError(f"wide_and_deep: {first} and {second} have {count:,} combinations, more than "
                             f"{LARGEST_CROSS:,}; give these columns fewer words")
        crossed = taken.words[first] * words[second] + taken.words[second]
        positions.append((f"{first}_by_{second}", crossed, count))
    for name, position, count in positions:
        weights = layers.Embedding(max(2, count), target.outputs, embeddings_initializer="zeros", name=f"{name}_wide")
        parts.append(layers.Reshape((target.outputs,))(weights(position)))
    return parts
