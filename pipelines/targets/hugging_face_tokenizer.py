"""Tokenizers as files of Hugging Face's library `tokenizers`, tokenizer.json, which other programs cut texts with."""
from __future__ import annotations

import json
from typing import Any

from export.chat.pieces import MARKS
from pipelines.features.feature import Learnt
from pipelines.features.tokenizers import byte_bpe
from pipelines.features.tokenizers.byte_bpe import LEFT, RIGHT, ByteBpe
from pipelines.features.tokenizers.tokenizer import END, START, Tokenizer


def written(tokenizer: Tokenizer, learnt: Learnt, *, talks: bool = False) -> bytes:
    """Return the file that cuts texts as a tokenizer does, with the same numbers.

    Special tokens have their numbers in the vocabulary, and nothing more: a text that has `<END>` written in it is cut
    into the bytes of that.

    Args:
        talks: the tokens before and behind a text are known by the characters that `export.chat.engines` spells them
            with.

    Raises:
        ValueError: the library would not cut texts so.
    """
    if not isinstance(tokenizer, ByteBpe):
        raise ValueError(f"Hugging Face's library does not cut texts as {tokenizer.entry_name} does; give "
                         "data.tokens.tokenizer: byte_bpe")
    first, names = byte_bpe.first_byte(learnt), list(learnt.names)
    pairs = zip(learnt.statistics[LEFT], learnt.statistics[RIGHT], strict=True)
    merges = [[names[first + int(left)], names[first + int(right)]] for left, right in pairs]
    spelled = {START: MARKS[START], END: MARKS[END]} if talks else {}
    for number, mark in spelled.items():
        names[number] = mark
    added = [{"id": number, "content": mark, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for number, mark in spelled.items()]
    in_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
             "vocab": {name: number for number, name in enumerate(names)}, "merges": merges}
    content: dict[str, Any] = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
                               "normalizer": None, "pre_tokenizer": in_bytes, "post_processor": None,
                               "decoder": in_bytes, "model": model}
    return json.dumps(content, ensure_ascii=False).encode()
