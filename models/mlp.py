"""Multilayer perceptrons for tables."""
from __future__ import annotations

from typing import Annotated

from etils import epy
from pydantic import Field

from models import columns as tables
from models.columns import Columns, Target
from models.registry import register

with epy.lazy_imports():
    import keras


@register("mlp", task="tabular", paper="https://arxiv.org/abs/2106.11959",
          at={"columns": tables.numeric_columns(8), "target": Target(classes=2)})
def mlp(columns: Columns, target: Target, *, units: Annotated[tuple[int, ...], Field(min_length=1)] = (256, 128),
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        embedding: Annotated[int, Field(ge=1)] = 8) -> keras.Model:
    """Dense layers on standardized numbers and embedded words, as the baseline MLP of Gorishniy et al. 2021, section
    3.1: dense, ReLU, dropout, and a dense output.

    Gorishniy, Rubachev, Khrulkov and Babenko, "Revisiting Deep Learning Models for Tabular Data", 2021. With f features
    and layers of 256 and 128 units, (f + 1) 256 + 257 * 128 + 129 k parameters for k outputs: of 8 numbers and two
    classes 35,458, and 35,072 multiply-adds.

    Args:
        columns: of the table.
        target: what is learnt.
        units: of each layer.
        dropout: rate after each layer.
        embedding: features of a word, at most; half of the vocabulary where that is less.
    """
    taken = tables.inputs(columns)
    x = tables.hidden(tables.embedded(taken, columns, embedding), units, dropout, "hidden")
    x = keras.layers.Dense(target.outputs, name="head")(x)
    return keras.Model(taken.given, tables.answer(x, target), name="mlp")
