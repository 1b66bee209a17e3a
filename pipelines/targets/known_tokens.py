"""Whether a model knows the tokens that texts are cut into."""
from __future__ import annotations

from pipelines.features.feature import Learnt


def check_vocabulary(size: int, learnt: Learnt, *, exact: bool = False) -> None:
    """Raise ValueError where a model knows fewer tokens than texts are cut into.

    Args:
        size: tokens that the model knows.
        exact: refuse one that knows more as well: the file has a name for each.
    """
    count = len(learnt.names)
    if size < count or (exact and size != count):
        raise ValueError(f"the model knows {size:,} tokens, and the vocabulary of data.tokens has {count:,}; give the "
                         "tokenizer that the model was trained with")
