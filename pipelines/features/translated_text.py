"""Pairs of texts that say the same: the one that is read, and the one that is written."""
from __future__ import annotations

from typing import Any

from pydantic import Field as Setting

from pipelines.features.feature import Learnt
from pipelines.features.running_text import RunningText
from pipelines.features.text import Text
from pipelines.features.tokenizers.character import Character
from pipelines.features.tokenizers.tokenizer import Tokenizer


def too_long(feature: Text, value: Any, name: str) -> str | None:
    """Return why a text has more tokens than fit, where that is known beforehand: of characters."""
    text = bytes(value).decode(errors="replace")
    ends = feature.ends * (1 if isinstance(feature, RunningText) else 2)
    if isinstance(feature.tokenizer, Character) and len(text) + ends > feature.length:
        return (f"has {len(text):,} characters, and data.{name}.length is {feature.length}: raise it, or let the "
                "source leave longer texts out")
    return None


class SourceText(Text, name="source_text", shorthand="tokenizer"):
    """The text that is translated, as the numbers of its tokens, filled up with 0 to a fixed length.

    Args:
        field: what the source calls it.
        tokenizer: how it is cut.
        length: tokens; a text of more characters is refused where tokens are characters, and else cut off.
        ends: it begins with token 2 and ends with token 3.
    """

    field: str | None = Setting("source", min_length=1)
    tokenizer: Tokenizer = Character()
    length: int = Setting(64, ge=1, le=100_000)

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        return super().fault(value, learnt) or too_long(self, value, "tokens")


class TargetText(RunningText, name="target_text", shorthand="tokenizer"):
    """The translation as its decoder reads it while it learns: token 2, and the tokens of the text but the last.

    Args:
        field: what the source calls it.
        tokenizer: how it is cut.
        length: tokens, the one that ends it counted; a text of more characters is refused where tokens are characters,
            and else cut off.
        ends: token 3 follows the last one: without it a translation has no end.
    """

    field: str | None = Setting("target", min_length=1)
    length: int = Setting(64, ge=1, le=100_000)
    ends: bool = True

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        return Text.fault(self, value, learnt) or too_long(self, value, "previous")
