"""Vocabularies of pieces of words, learnt by the library SentencePiece. What it learns is looked up without it."""
from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from typing import Literal, NamedTuple

from export.errors import first_line
from export.targets import tools
from pipelines.errors import UserError
from pipelines.features.tokenizers.pieces import LONGEST

#: Stands for the space before a word, at the beginning of its first piece.
MARK = "\u2581"
#: Bytes of a text that are learnt from, at most.
MOST_BYTES = 2**24


class Pieces(NamedTuple):
    """Pieces in the order of their numbers, and their scores: logarithms of probabilities, or less 1 with each that
    was learnt before."""

    names: list[str]
    scores: list[float]


def learn(texts: Iterable[str], algorithm: Literal["unigram", "bpe"], most: int) -> Pieces:
    """Return the pieces that texts are best cut into, words by their spaces.

    Args:
        texts: without capitals where these do not count, a single space between words.
        algorithm: unigram is Kudo's (2018), bpe is byte pair encoding (Sennrich et al., 2016).
        most: pieces.

    Raises:
        UserError: the library is not installed, or the texts are too few to learn from.
    """
    if absent := tools.missing("text"):
        raise UserError(f"data: SentencePiece learns these tokens: {absent}")
    import sentencepiece

    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=written, model_type=algorithm, vocab_size=most + 1,
            hard_vocab_limit=False, character_coverage=1.0, normalization_rule_name="identity", num_threads=1,
            max_sentence_length=MOST_BYTES, max_sentencepiece_length=LONGEST, bos_id=-1, eos_id=-1, minloglevel=2)
    except RuntimeError as error:
        raise UserError(f"data: {algorithm} cannot learn {most:,} pieces of the training texts: {first_line(error)}. "
                        "Give fewer, or more texts") from None
    model = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    names = [model.id_to_piece(number) for number in range(model.get_piece_size())]
    known = [number for number in range(len(names)) if not model.is_unknown(number)]
    return Pieces([names[number] for number in known], [_float32(model.get_score(number)) for number in known])


def _float32(number: float) -> float:
    return float(struct.unpack("f", struct.pack("f", number))[0])
