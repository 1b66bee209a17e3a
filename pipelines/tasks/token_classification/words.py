"""The words of a text out of its tokens: each word has the tag that its first token is given."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etils import epy

from export.signature import Arrays
from pipelines.features.tags import NOTHING

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: The target that says where each word's first token stands; there is none where tokens are words.
FIRSTS = "first_pieces"


def in_graph(targets: Mapping[str, Any], outputs: Mapping[str, Any], target: str,
             output: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return targets and outputs by words where they are by tokens: logits of first tokens, (batch, words, classes),
    and tags, one-hot, all 0 where a word has no token.

    Args:
        target, output: of the tags and of the logits.
    """
    if FIRSTS not in targets:
        return dict(targets), dict(outputs)
    places = tf.cast(targets[FIRSTS], tf.int32)
    there = tf.cast(places != NOTHING, targets[target].dtype)[..., None]
    logits = tf.gather(outputs[output], tf.maximum(places, 0), batch_dims=1)
    return {**targets, target: targets[target] * there}, {**outputs, output: logits}


def of_words(values: np.ndarray, targets: Arrays) -> np.ndarray:
    """Return what words have of values that tokens have, (batch, tokens, …): that of their first ones."""
    if FIRSTS not in targets:
        return values
    places = np.maximum(np.asarray(targets[FIRSTS], int), 0)
    return np.take_along_axis(values, places.reshape(*places.shape, *[1] * (values.ndim - 2)), axis=1)


def tags(targets: Arrays, target: str) -> np.ndarray:
    """Return the tags of words, (batch, words), NOTHING of those that have no token."""
    if FIRSTS not in targets:
        return np.asarray(targets[target])
    return np.where(np.asarray(targets[FIRSTS]) == NOTHING, NOTHING, targets[target])
