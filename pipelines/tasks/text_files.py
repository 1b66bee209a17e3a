"""Texts in a user's files, and what of a tokenizer goes into a bundle."""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epy

from export.delivery.snippets import TEMPLATES
from pipelines.errors import UserError
from pipelines.features.feature import Feature
from pipelines.features.text import Text
from pipelines.features.tokenizers.tokenizer import PADDING, UNKNOWN
from pipelines.ingest.index import Index
from pipelines.ingest.sources.source import Source
from pipelines.ingest.sources.table_file import ENDINGS, TableFile
from pipelines.ingest.sources.text_folder import TextFolder

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

#: What a bundle's file is called that says how text is cut.
TOKENIZER = "tokenizer.json"
#: What cuts text so, by the folder of its language.
CODE = {"python": "tokenizer.py", "kotlin": "Tokenizer.kt", "swift": "Tokenizer.swift"}


def rows(path: Path, features: Mapping[str, Feature], index: Index,
         like: Source | None) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return what each text in a user's file is called, and its tokens.

    Of a table each row is a text, of any other file each line that is not empty; or the whole file, where the model
    learnt from such.

    Args:
        like: the source that the model learnt from, where it is known.

    Raises:
        UserError: the file cannot be read, is not UTF-8, or has no text.
    """
    (name, feature), = features.items()
    named = _of_table(path, feature.field_name(name), like) if path.suffix.lower() in ENDINGS else _of_text(path, like)
    learnt = index.learnt[name]
    tokens = [feature.decode(tf.constant(text), learnt).numpy() for _, text in named]
    return [title for title, _ in named], {name: np.stack(tokens)}


def _of_table(path: Path, column: str, like: Source | None) -> list[tuple[str, bytes]]:
    """Return what each row of a table is called, and its text. Raises UserError."""
    kind = ENDINGS[path.suffix.lower()]
    source: TableFile = like if isinstance(like, kind) else kind(path=str(path))
    table = source.table_of(path, {column: "text"})
    if column not in table.columns:
        raise UserError(f"{table.name} has no column {column}; it has {', '.join(table.columns)}")
    return [(table.row(number), text) for number, text in enumerate(table.columns[column])]


def _of_text(path: Path, like: Source | None) -> list[tuple[str, bytes]]:
    """Return what each line of a file, or the file, is called, and its text. Raises UserError."""
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    if isinstance(like, TextFolder):
        named = [(str(path), content)]
    else:
        named = [(f"{path.name} line {number}", line) for number, line in enumerate(content.splitlines(), 1)]
    result = [(title, text.encode()) for title, text in named if text.strip()]
    if not result:
        raise UserError(f"{path}: has no text; each line is one")
    return result


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
    code = {f"code/{language}/{file}": (TEMPLATES / "text" / file).read_bytes() for language, file in CODE.items()}
    return {**code, TOKENIZER: json.dumps(feature.described(learnt), ensure_ascii=False).encode()}
