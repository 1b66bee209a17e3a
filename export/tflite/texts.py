"""Metadata of inputs that are the words of a text: how it is cut, and the vocabulary, as MediaPipe's TextClassifier
reads them."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from export.signature import Tensor
from export.tflite.tables import Tables

#: The file behind a model that has a word and its number in each line.
VOCABULARY = "vocabulary.txt"
REGEX_TOKENIZER = 6  # ProcessUnitOptions
OF_VOCABULARY = 5  # AssociatedFileType


def vocabularies(inputs: Sequence[Tensor]) -> dict[str, bytes]:
    """Return the vocabulary of an input of words, by file name; nothing where there is no such input."""
    words = next((tensor.words for tensor in inputs if tensor.delimiters), ())
    lines = [f"{word} {number}" for number, word in enumerate(words)]
    return {VOCABULARY: "\n".join(lines).encode()} if words else {}


def tokenizer(build: Tables, tensor: Tensor) -> dict[int, tuple[str, Any]]:
    """Write how an input of words is cut; return the fields of its metadata that say so."""
    if not tensor.delimiters:
        return {}

    def file() -> int:
        return build({0: ("text", VOCABULARY), 1: ("text", "Words and their numbers."), 2: ("byte", OF_VOCABULARY)})

    options = build({0: ("text", tensor.delimiters), 1: ("tables", [file()])})
    unit = build({0: ("ubyte", REGEX_TOKENIZER), 1: ("table", options)})
    return {4: ("tables", [unit]), 6: ("tables", [file()])}
