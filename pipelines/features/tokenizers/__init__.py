"""Ways to cut text into tokens, one file each. Importing this makes all of them known to recipes."""
from pipelines.features.tokenizers import character, sentencepiece, word, wordpiece
from pipelines.features.tokenizers.tokenizer import Tokenizer

__all__ = ["Tokenizer", "character", "sentencepiece", "word", "wordpiece"]
