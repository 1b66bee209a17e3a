"""Ways to cut text into tokens, one file each. Importing this makes all of them known to recipes."""
from pipelines.features.tokenizers import (
    byte_bpe,
    character,
    pretrained,
    regex,
    sentencepiece,
    whitespace,
    word,
    wordpiece,
)
from pipelines.features.tokenizers.tokenizer import Tokenizer

__all__ = ["Tokenizer", "byte_bpe", "character", "pretrained", "regex", "sentencepiece", "whitespace", "word",
           "wordpiece"]
