"""Noise by a seed: the numbers that pictures are made of, the same in Python, Kotlin, Swift and a browser.

They are those of TensorFlow's `tf.random.stateless_normal` with its algorithm Philox: every bit of the words behind
them, and the normal numbers themselves within 5e-6, since sines and logarithms differ in their last digits from one
machine to the next. It needs NumPy alone.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from export.writing.sampling import MASK, MULTIPLIERS, ROUNDS, WEYL

#: What TensorFlow scrambles a seed with before it is a key.
SCRAMBLER = (0x3EC8F720, 0x02461E29)
#: Numbers of a seed, 0 to this.
MOST_SEED = 2 ** 63 - 1
#: The smallest number whose logarithm is taken.
LEAST = np.float32(1e-7)


def normal(seed: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """Return normal numbers of a seed, float32, within 5e-6 of `tf.random.stateless_normal(shape, seed)`.

    Fewer numbers of a seed are the first ones of more: a larger first side adds pictures to those that there were.

    Args:
        seed: two whole numbers, each 0 to 2 ** 63 - 1.
    """
    count = math.prod(shape)
    bits = words(seed, count + count % 2)
    share = _mantissa(bits)
    radius = np.sqrt(np.float32(-2) * np.log(np.maximum(share[0::2], LEAST)))
    angle = np.float32(2 * np.pi) * share[1::2]
    pairs = np.stack([np.sin(angle) * radius, np.cos(angle) * radius], axis=1)
    return pairs.reshape(-1)[:count].reshape(tuple(shape)).astype(np.float32)


def words(seed: Sequence[int], count: int) -> np.ndarray:
    """Return random words of 32 bits, uint32 (count,): those of `tf.random.stateless_uniform` over all of them."""
    first, second = (int(number) & (2 ** 64 - 1) for number in seed)
    counter = np.array([[first & MASK, first >> 32, second & MASK, second >> 32]], np.uint64)
    mixed = philox(counter, SCRAMBLER)[0]
    blocks = -(-count // 4)
    low = np.arange(blocks, dtype=np.uint64)
    counters = np.stack([low & np.uint64(MASK), low >> np.uint64(32), np.full(blocks, mixed[2]),
                         np.full(blocks, mixed[3])], axis=1)
    return philox(counters, (int(mixed[0]), int(mixed[1]))).reshape(-1)[:count].astype(np.uint32)


def philox(counters: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Return four words for each counter: Philox4x32-10, as `sampling.philox` has it for one.

    Args:
        counters: uint64 (counters, 4), words of 32 bits, the low one first.
        key: two words of 32 bits, the low one first.
    """
    mask, half = np.uint64(MASK), np.uint64(32)
    words = [counters[:, place] for place in range(4)]
    keys = [key[0], key[1]]
    for _ in range(ROUNDS):
        first, second = words[0] * np.uint64(MULTIPLIERS[0]), words[2] * np.uint64(MULTIPLIERS[1])
        words = [second >> half ^ words[1] ^ np.uint64(keys[0]), second & mask,
                 first >> half ^ words[3] ^ np.uint64(keys[1]), first & mask]
        keys = [own + step & MASK for own, step in zip(keys, WEYL, strict=True)]
    return np.stack(words, axis=1)


def _mantissa(bits: np.ndarray) -> np.ndarray:
    """Return words as numbers of 0 to 1, float32, of their last 23 bits, as TensorFlow has it."""
    return (bits & np.uint32(0x7FFFFF) | np.uint32(127 << 23)).view(np.float32) - np.float32(1)
