"""Texts whose words have tags: where each word's first token stands, against words that are cut one by one."""
import pytest
import tensorflow as tf
from pydantic import ValidationError

from pipelines.features.feature import Field
from pipelines.features.tagged_text import FirstPieces, TaggedText
from pipelines.features.tokenizers.byte_bpe import ByteBpe
from pipelines.features.tokenizers.sentencepiece import Bpe
from pipelines.features.tokenizers.whitespace import Whitespace
from pipelines.features.tokenizers.wordpiece import WordPiece
from tests.pipelines.features.tokenizers.odd_strings import real

LENGTH = 24


def places_of(tokenizer, text, ends=False):
    read = TaggedText(tokenizer=tokenizer, length=LENGTH, ends=ends)
    learnt = read.learn(Field(kind="text"), [one.encode() for one in real(200)])
    places = FirstPieces(**dict(read)).decode(tf.constant(text.encode()), learnt).numpy().tolist()
    return places, read.decode(tf.constant(text.encode()), learnt).numpy().tolist(), learnt


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("tokenizer", [Whitespace(), WordPiece(most=150), ByteBpe(most=300), Bpe(most=150)],
                         ids=lambda one: one.entry_name)
def test_each_word_begins_where_those_before_it_end(tokenizer, ends):
    """What stands between words is one space, which bytes have in the word behind it; it may be a token alone."""
    text = "(Ada Lovelace), don't  you\tknow, lived\nin LONDON-town then; or so it was told me: 1815"
    places, tokens, learnt = places_of(tokenizer, " ".join(text.split()), ends)
    before, expected, size = "", [], int(ends)
    for word in text.split():
        pieces = tokenizer.tokens(tf.constant((before + word).encode()), learnt, LENGTH).numpy().tolist()
        place = size + (learnt.names[pieces[0]] in ("Ġ", "\u2581"))
        expected.append(place if place < LENGTH - ends else -1)
        if size + len(pieces) <= LENGTH - ends:
            assert tokens[size:size + len(pieces)] == pieces
        size += len(pieces)
        before = " " if isinstance(tokenizer, ByteBpe) else ""
    assert places == [*expected, *[-1] * (LENGTH - len(expected))]
    assert isinstance(tokenizer, Whitespace) or size > len(text.split()) + 5


def test_white_space_does_not_count_and_a_word_without_tokens_has_no_place():
    assert places_of(WordPiece(most=150), " \t the \u200b film\n")[0][:4] == [0, -1, 1, -1]
    assert places_of(ByteBpe(most=300), "  ")[0] == places_of(WordPiece(most=150), "")[0] == [-1] * LENGTH


def test_what_cuts_beyond_words_is_refused():
    with pytest.raises(ValidationError, match="must be whitespace, or cut words into pieces"):
        TaggedText(tokenizer="regex")
