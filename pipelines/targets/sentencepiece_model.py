"""Tokenizers as files of SentencePiece, which other programs cut texts with."""
from __future__ import annotations

import io
import sys
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

from export.chat.pieces import MARKS
from pipelines.features.feature import Learnt
from pipelines.features.tokenizers import code_points
from pipelines.features.tokenizers.character import Character
from pipelines.features.tokenizers.sentencepiece import SCORES, InPieces
from pipelines.features.tokenizers.tokenizer import END, PADDING, START, UNKNOWN, Tokenizer
from pipelines.features.tokenizers.trained import MARK

#: Kinds of characters that stand between words, of those that are assigned.
BETWEEN = ("Cc", "Cf", "Zl", "Zp", "Zs")


def written(tokenizer: Tokenizer, learnt: Learnt, *, talks: bool = False) -> bytes:
    """Return the model of SentencePiece that cuts texts as a tokenizer does, with the same numbers. It merges unknown
    characters that are neighbours.

    Args:
        talks: the tokens before and behind a text are known by the characters that `export.chat.engines` spells them
            with, and where spaces are merged by those with the space before them.

    Raises:
        ValueError: SentencePiece does not cut texts so.
    """
    if not isinstance(tokenizer, (InPieces, Character)):
        raise ValueError(f"SentencePiece does not cut texts as {tokenizer.entry_name} does; give "
                         "data.tokens.tokenizer: bpe, sentencepiece or character")
    is_pieces = isinstance(tokenizer, InPieces)
    if not is_pieces and MARK in learnt.names:
        raise ValueError(f"the vocabulary has the character {MARK}, which SentencePiece takes for a space; leave it "
                         "out of the texts")
    schema = _schema()
    model = schema.ModelProto()
    kinds = schema.ModelProto.SentencePiece
    special = {PADDING: kinds.CONTROL, UNKNOWN: kinds.UNKNOWN, START: kinds.CONTROL, END: kinds.CONTROL}
    scores = learnt.statistics[SCORES] if is_pieces else [0.0] * (len(learnt.names) - len(special))
    for number, name in enumerate(learnt.names):
        piece = name if is_pieces or number in special else name.replace(" ", MARK)
        score = 0.0 if number in special else scores[number - len(special)]
        model.pieces.add(piece=piece, score=score, type=special.get(number, kinds.NORMAL))
    kind = {"sentencepiece": "UNIGRAM", "bpe": "BPE", "character": "CHAR"}[str(tokenizer.entry_name)]
    for number in (START, END) if talks else ():
        model.pieces[number].piece = f"{MARK if is_pieces else ''}{MARKS[number]}"
        model.pieces[number].type = kinds.USER_DEFINED
    about = model.trainer_spec
    about.model_type = getattr(schema.TrainerSpec, kind)
    about.vocab_size = len(learnt.names)
    about.pad_id, about.unk_id = PADDING, UNKNOWN
    about.bos_id, about.eos_id = (-1, -1) if talks else (START, END)  # these would have to be control tokens
    about.pad_piece, about.unk_piece, about.bos_piece, about.eos_piece = learnt.names[:len(special)]
    normal = model.normalizer_spec
    normal.name = "litepress"
    normal.precompiled_charsmap = _charsmap(_replaced(is_pieces, tokenizer.lower))
    normal.add_dummy_prefix = normal.remove_extra_whitespaces = is_pieces
    normal.escape_whitespaces = True
    return model.SerializeToString(deterministic=True)


def _schema() -> Any:
    """Return the messages that such a file is made of, whose classes are made when they are imported."""
    from sentencepiece import sentencepiece_model_pb2

    return sentencepiece_model_pb2


def _replaced(in_words: bool, lower: bool) -> dict[int, int]:
    """Return which characters stand for others.

    Args:
        in_words: what stands between words counts as a space.
        lower: capitals count as small letters.
    """
    _, _, capitals, small = code_points.tables()
    replaced = dict(zip(capitals.tolist(), small.tolist(), strict=True)) if lower else {}
    if in_words:
        between = [point for point in range(1, sys.maxunicode + 1) if unicodedata.category(chr(point)) in BETWEEN]
        replaced |= dict.fromkeys([*between, ord(MARK)], code_points.SPACE)
    else:  # it would count as a space, and no vocabulary has what stands for it
        replaced[ord(MARK)] = code_points.REPLACEMENT
    return {point: other for point, other in replaced.items() if point != other}


def _charsmap(replaced: dict[int, int]) -> bytes:
    """Return such a table as SentencePiece has it, which alone writes it."""
    import sentencepiece

    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.tsv"
        rules.write_text("".join(f"{point:X}\t{other:X}\n" for point, other in sorted(replaced.items())))
        made = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["a"]), model_writer=made, model_type="char", vocab_size=8, hard_vocab_limit=False,
            normalization_rule_tsv=str(rules), minloglevel=2)
    content: bytes = _schema().ModelProto.FromString(made.getvalue()).normalizer_spec.precompiled_charsmap
    return content
