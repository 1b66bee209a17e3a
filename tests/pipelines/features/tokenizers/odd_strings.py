"""Strings that tokenizers must agree on: real sentences, and odd ones drawn from all of Unicode."""
from __future__ import annotations

import numpy as np

from pipelines.ingest.sources.vader import Vader

#: White space, control characters, marks, scripts without spaces, emoji, capitals that are odd.
ALPHABET = [*"abcxyzABCXYZ0129 .,!?'\"-_@#$%&()\n\t\r\x00\x0b\x1c\x7f\x85\xa0\xad", *"äöüÄÖÜßẞéÉñÑıİǅǆΣσςЖжԱաႠⴀ",
            *"\u0301\u0308\u200b\u200d\u2028\u3000\ufeff\ufffd\u2581\ufe0f", *"你好世界ひらカタ한글ไทยकि",
            *"👍🏽😀🇩🇪👨‍👩‍👧", *"∑√€™½²Ⅷ①"]


def real(count: int) -> list[str]:
    """Return sentences that people wrote."""
    texts = Vader(clear=1e-9).tables()["train"].columns["text"]
    return [text.decode() for text in texts[:: max(1, len(texts) // count)][:count]]


def odd(count: int, seed: int = 0) -> list[str]:
    """Return strings of the odd alphabet, and of any character that there is but for surrogates."""
    generator = np.random.default_rng(seed)
    strings = ["", " ", "\n", "a" * 500, "ß" * 40, "#", "##a", "<PAD>", "\u2581a\u2581b", "a\u0000b"]
    while len(strings) < count:
        size = int(generator.integers(1, 40))
        if len(strings) % 3:
            strings.append("".join(generator.choice(ALPHABET, size)))
        else:
            points = generator.integers(0, 0x110000, size)
            strings.append("".join(chr(point) for point in points if not 0xD800 <= point < 0xE000))
    return strings[:count]
