"""Pairs of texts that share a vocabulary: both stand in one field of the source, with a tab between."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etils import epy

from pipelines.features.feature import Feature, Learnt
from pipelines.features.text import Text
from pipelines.features.tokenizers.tokenizer import PADDING

with epy.lazy_imports():
    import tensorflow as tf

#: The field that a source of pairs has both texts in, and what stands between them.
FIELD, BETWEEN = "pair", "\t"


class PairText(Text, name="pair_text", shorthand="tokenizer"):
    """The first text of a pair, as the numbers of its tokens; the vocabulary is learnt from both.

    Args:
        field: what the source calls the pair; `pair` where not given.
        tokenizer: how text is cut.
        length: tokens; what is behind them is cut off.
        ends: every text begins with token 2 and ends with token 3.
    """

    ends: bool = True

    def field_name(self, name: str) -> str:
        return self.field or FIELD

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return super().decode(parts(value)[0], learnt)

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        reason = super().fault(value, learnt)
        if reason is None and not all(part.strip() for part in bytes(value).decode().split(BETWEEN, 1)):
            return "has one text alone, and not a pair"
        return reason


class SecondText(PairText, name="second_text"):
    """The second text of a pair, alone; its settings are those of the first."""

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        first = next((one for one in others.values() if type(one) is PairText), None)
        return self if first is None else self.model_copy(update={**dict(first), **self._own()})

    def _own(self) -> dict[str, Any]:
        """Return the settings that are not the first text's."""
        return {}

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return Text.decode(self, parts(value)[-1], learnt)


class SoughtText(SecondText, name="sought_text"):
    """The second text of a pair as what is to be found."""

    counted = False

    def prepare(self, values: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return values


class ContinuedText(SecondText, name="continued_text", shorthand="length"):
    """The second text of a pair behind the first one: nothing stands before it, and token 3 behind it, where texts have
    ends; its tokenizer is that of the first.

    Args:
        length: tokens; what is behind them is cut off.
    """

    def _own(self) -> dict[str, Any]:
        return {"length": self.length}

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        tokens = super().decode(value, learnt)
        if not self.ends:
            return tokens
        return tf.concat([tokens[1:], [PADDING]], axis=0)


def parts(value: tf.Tensor) -> tf.Tensor:
    """Return both texts of a pair, string (2,); of what is no pair the text itself, (1,)."""
    return tf.strings.split(tf.convert_to_tensor(value)[None], BETWEEN, maxsplit=1).values
