"""Texts in a user's files, and what of a tokenizer goes into a bundle."""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epy

from pipelines.errors import UserError
from pipelines.features.feature import Feature
from pipelines.features.text import Text
from pipelines.features.tokenizers.tokenizer import PADDING, UNKNOWN
from pipelines.ingest.index import Index

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

#: What a bundle's file is called that says how text is cut.
TOKENIZER = "tokenizer.json"


def rows(path: Path, features: Mapping[str, Feature], index: Index) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return what each text in a user's file is called, and its tokens: each line that is not empty is a text.

    Raises:
        UserError: the file cannot be read, is not UTF-8, or has no text.
    """
    (name, feature), = features.items()
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    lines = [(number, line) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    if not lines:
        raise UserError(f"{path}: has no text; each line is one")
    learnt = index.learnt[name]
    return ([f"{path.name} line {number}" for number, _ in lines],
            {name: np.stack([feature.decode(tf.constant(line.encode()), learnt).numpy() for _, line in lines])})


def notes(data: Data, name: str) -> list[str]:
    """Return how many training texts are cut off, and how much of them the vocabulary lacks."""
    full, unknown, tokens, texts = 0, 0, 0, 0
    for inputs, _ in data.batches("train"):
        values = inputs[name]
        texts += len(values)
        full += int((values[:, -1] != PADDING).sum())
        tokens += int((values != PADDING).sum())
        unknown += int((values == UNKNOWN).sum())
    learnt = data.index.learnt[name]
    return [f"{name}: a vocabulary of {len(learnt.names):,}, which lacks {unknown / max(tokens, 1):.2%} of the "
            f"training texts' tokens; {full / texts:.1%} of these texts fill all {values.shape[1]} tokens, and may be "
            "cut off"]


def shipped(data: Data, name: str) -> dict[str, bytes]:
    """Return what an app needs to cut text as the model was trained to, by file name."""
    feature, learnt = data.features[name], data.index.learnt[name]
    assert isinstance(feature, Text)
    return {TOKENIZER: json.dumps(feature.described(learnt), ensure_ascii=False).encode()}
