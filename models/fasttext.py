"""fastText."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import texts
from models.registry import register

with epy.lazy_imports():
    import keras

#: Numbers are int32.
LARGEST = 2**31 - 1


@register("fasttext", task="text_classification", paper="https://arxiv.org/abs/1607.01759", at=texts.SENTENCES)
def fasttext(length: int, vocabulary: int, classes: int, *, embedding: Annotated[int, Field(ge=1)] = 10,
             ngrams: Annotated[int, Field(ge=1, le=5)] = 2, buckets: Annotated[int, Field(ge=1, le=2**24)] = 100_000,
             dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0) -> keras.Model:
    """The mean of the vectors of all words and n-grams, and a linear classifier on it.

    Joulin, Grave, Bojanowski and Mikolov, "Bag of Tricks for Efficient Text Classification", 2016. N-grams are hashed
    into buckets (the paper's 10 million are 100,000 here, for phones), each with a vector of its own; padding has none.
    With vectors of d numbers, V tokens, b buckets and k classes there are (V + b) d + d k parameters: 1,200,020 for
    20,000 tokens, 100,000 buckets and two classes, and as many multiply-adds as d k: 20.

    Args:
        length: tokens of a text.
        vocabulary: tokens that there are; 0 is padding.
        classes: to tell apart.
        embedding: numbers of a vector.
        ngrams: the longest, in tokens; 1 for words alone.
        buckets: that n-grams are hashed into.
        dropout: share of the mean vector that is dropped in training.

    Raises:
        ValueError: an n-gram is longer than a text.
    """
    if ngrams > length:
        raise ValueError(f"fasttext: n-grams have up to {ngrams} tokens, and texts have {length}; give ngrams: "
                         f"{length}")
    layers, ops = keras.layers, keras.ops
    tokens = texts.tokens_of(length)
    there = texts.there(tokens)
    total, count = ops.sum(texts.vectors_of(tokens, vocabulary, embedding, 0.0) * there, axis=1), ops.sum(there, axis=1)
    if ngrams > 1:
        lookup = layers.Embedding(buckets, embedding, name="ngrams")
        for size, hashed in enumerate(_hashed(tokens, length, vocabulary, ngrams, buckets), 2):
            within = there[:, size - 1:]  # padding is at the end, so a last token has all those before it
            total += ops.sum(lookup(hashed) * within, axis=1)
            count += ops.sum(within, axis=1)
    mean = layers.Dropout(dropout)(total / ops.maximum(count, 1.0))
    return keras.Model(tokens, layers.Dense(classes, use_bias=False, name="logits")(mean), name="fasttext")


def _hashed(tokens: Any, length: int, vocabulary: int, most: int, buckets: int) -> list[Any]:
    """Return the buckets of all n-grams from two tokens to the most, int32 (batch, length - n + 1) each.

    A bucket is (bucket of the n-gram without its last token x factor + last token) modulo the buckets, with the largest
    odd factor that int32 has room for.
    """
    factor = (LARGEST - vocabulary) // max(vocabulary, buckets)
    factor -= 1 - factor % 2
    hashed, result = tokens, []
    for size in range(2, most + 1):
        hashed = keras.ops.mod(hashed[:, :-1] * factor + tokens[:, size - 1:], buckets)
        result.append(hashed)
    return result
