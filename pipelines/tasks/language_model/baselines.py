"""What programs that compress, and counts of five tokens, make of the same text."""
from __future__ import annotations

import lzma
import math
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from etils import epy

from pipelines.features.tokenizers.tokenizer import PADDING
from pipelines.ingest.index import Part
from pipelines.tasks.evaluation import rounded
from pipelines.tasks.language_model import ngram

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

GZIP, XZ, FIVE_GRAM = "gzip", "xz", "five_gram"
NAMES = (GZIP, XZ, FIVE_GRAM)
ORDER = 5


def measured(data: Data, target: str, text: Callable[[Part], str]) -> dict[str, dict[str, float]]:
    """Return the metrics of the baselines, by their names.

    Of programs: the bytes that the training text and the test text take together, at the highest level, less those of
    the training text alone. gzip looks back at 32 KiB, xz at all. Of the five-gram model: its probabilities of the same
    tokens, counted in the training text.

    Args:
        target: of the tokens that follow.
        text: of a part: what its tokens keep of it, so that all are asked for the same characters.
    """
    written = text("test")
    learnt, asked = text("train").encode(), written.encode()
    tokens = {part: _tokens(data, target, part) for part in ("train", "test")}
    likely = ngram.probabilities(tokens["train"], tokens["test"], ORDER, len(data.index.names(target)))
    bits = {GZIP: _bits(learnt, asked, lambda text: zlib.compress(text, 9)),
            XZ: _bits(learnt, asked, lambda text: lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)),
            FIVE_GRAM: float(-np.log2(likely).sum())}
    return {one: metrics(value, len(tokens["test"]), len(written), len(asked)) for one, value in bits.items()}


def metrics(bits: float, tokens: int, characters: int, size: int) -> dict[str, float]:
    """Return the bits for a character of a text and for a byte of it, and the perplexity of its tokens, from the bits
    of the whole.

    Args:
        size: bytes of the text in UTF-8.
    """
    return rounded({"bits_per_character": bits / max(characters, 1), "bits_per_byte": bits / max(size, 1),
                    "perplexity": math.exp(min(bits * math.log(2) / max(tokens, 1), 700))})


def _bits(learnt: bytes, asked: bytes, compress: Callable[[bytes], bytes]) -> float:
    return 8.0 * (len(compress(learnt + asked)) - len(compress(learnt)))


def _tokens(data: Data, target: str, part: Part) -> np.ndarray:
    rows = np.concatenate([targets[target] for _, targets in data.batches(part)])
    return rows[rows != PADDING].astype(np.int64)
