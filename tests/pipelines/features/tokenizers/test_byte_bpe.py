"""Byte-level byte pair encoding against the library that learnt it."""
import itertools
import sys
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.features.running_text import RunningText
from pipelines.features.text import Text
from pipelines.features.tokenizers import byte_bpe, byte_level
from pipelines.features.tokenizers.byte_bpe import LEFT, RIGHT, ByteBpe
from pipelines.features.tokenizers.tokenizer import ENDS, SPECIAL
from pipelines.ingest.sources import bible
from tests.pipelines.features.tokenizers.odd_strings import odd, real
from tests.pipelines.features.tokenizers.test_pieces import cutter

OWN = (*SPECIAL, *ENDS)
WRITTEN = ["In the beginning", "  two  spaces ", "a\tb\t\tc\n\n d\r\n", "don't we'll they've I'm it's he'd you're 'tis",
           "''s 's's \"'s DON'T 'll'd x'", "naïve café Ærøskøbing Straße", "日本語のテキスト、です。",
           "👍🏽 👨‍👩‍👧 🇩🇪!", "3.14 10,000 x2 ½ Ⅷ ٣",
           "\u3000\u2028 \u00a0 x\u0085y\x1cz\x0b",
           "aaaa aaaaa bbbbbbb" + "a" * 300, "<PAD><START> <UNKNOWN> <END>", "", " ", "   ", "\n"]


def chapters(count):
    return [text for _, _, text in itertools.islice(bible.chapters(bible.GOSPELS), count)]


@pytest.fixture(scope="module")
def learnt():
    texts = [*real(300), *chapters(6), "日本語" * 20]
    return ByteBpe(most=700).learn([text.encode() for text in texts], OWN)


def library(learnt):
    """Return the library's own tokenizer of the very same vocabulary and merges."""
    special, names = byte_bpe.first_byte(learnt), learnt.names
    pairs = zip(learnt.statistics[LEFT], learnt.statistics[RIGHT], strict=True)
    merges = [(names[special + int(left)], names[special + int(right)]) for left, right in pairs]
    one = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, merges))
    one.pre_tokenizer, one.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return one


def test_tokens_are_those_of_the_library_in_a_graph(learnt):
    cut, one = cutter(ByteBpe(), learnt), library(learnt)
    for text in [*WRITTEN, *real(20), *odd(50)]:
        assigned = "".join(character for character in text if unicodedata.category(character) != "Cn")
        assert cut(assigned) == one.encode(assigned).ids, repr(assigned)


def test_letters_numbers_and_white_space_are_those_of_the_library():
    starts, kinds = byte_level.classes()
    points = np.array([point for point in (*range(0x3100), *range(0x9F00, 0xAC00), *range(0xF900, 0x12000))
                       if unicodedata.category(chr(point)) != "Cn"])
    own = kinds[np.searchsorted(starts, points, side="right") - 1]
    text = "".join(map(chr, points))
    patterns = {byte_level.LETTER: r"\p{L}+", byte_level.NUMBER: r"\p{N}+", byte_level.SPACE: r"\s+"}
    for kind, pattern in patterns.items():
        left = set(normalizers.Replace(Regex(pattern), "").normalize_str(text))
        assert [chr(point) not in left for point in points] == (own == kind).tolist()


def test_every_text_comes_back_as_it_was_in_and_out_of_a_graph(learnt):
    cut, tokenizer = cutter(ByteBpe(), learnt), ByteBpe()
    for text in [*WRITTEN, *odd(30)]:
        names = [learnt.names[number] for number in cut(text)]
        assert tokenizer.text(names) == text
        assert tokenizer.texts(tf.constant([[*names, "", ""]])).numpy().tolist() == [text.encode()]


def test_what_bytes_make_that_are_not_utf8_is_the_same_in_and_out_of_a_graph():
    generator = np.random.default_rng(0)
    rows = [generator.choice([0x41, 0x80, 0xBF, 0xC3, 0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x91, 0xED, 0xA0, 0xFF], 12)
            for _ in range(200)]
    names = [[byte_level.alphabet()[byte] for byte in row] for row in rows]
    expected = [bytes(row.tolist()).decode(errors="replace") for row in rows]
    assert [byte_level.text(row) for row in names] == expected
    assert [text.decode() for text in byte_level.texts(tf.constant(names)).numpy()] == expected


def test_bytes_that_are_not_utf8_are_read_as_replacement_characters(learnt):
    tokens = ByteBpe().tokens(tf.constant(b"caf\xe9 \xff!"), learnt, 100).numpy().tolist()
    assert tokens == library(learnt).encode("caf\ufffd \ufffd!").ids


def test_special_tokens_that_are_written_in_a_text_are_none():
    texts = [b"<PAD> <START> <END> <UNKNOWN>"] * 50
    feature = RunningText(tokenizer=ByteBpe(most=300), length=64, ends=True)
    learnt = feature.learn(Field(kind="text"), texts)
    assert learnt.names[:4] == [*OWN] and not set(learnt.names[4:]) & {*OWN}
    tokens = feature.decode(tf.constant(texts[0]), learnt).numpy().tolist()
    own = [token for token in tokens if token]
    assert own[0] == 2 and min(own[1:]) > 3
    follows = feature.following(tf.constant(texts[0]), learnt)
    assert feature.in_words(follows.numpy(), learnt) == texts[0].decode()
    assert feature.texts(follows[None], learnt).numpy().tolist() == [texts[0]]


def test_a_vocabulary_has_all_bytes_and_a_token_for_each_merge(learnt):
    assert len(learnt.names) == 704 == len(set(learnt.names)) and len(learnt.statistics[LEFT]) == 700 - 256
    assert sorted(learnt.names[4:260]) == sorted(byte_level.alphabet())
    for number, name in enumerate(learnt.names[260:]):
        left, right = (int(learnt.statistics[side][number]) for side in (LEFT, RIGHT))
        assert max(left, right) < 256 + number and learnt.names[4 + left] + learnt.names[4 + right] == name


def test_the_alphabet_is_gpt2s():
    assert set(byte_level.alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert byte_level.alphabet()[ord(" ")] == "Ġ" and byte_level.alphabet()[ord("\n")] == "Ċ"


@pytest.mark.parametrize("texts", [[], [b""]])
def test_without_texts_bytes_are_left(texts):
    learnt = ByteBpe(most=300).learn(texts, SPECIAL)
    assert len(learnt.names) == 258
    assert cutter(ByteBpe(), learnt)("aé") == [2 + sorted(byte_level.alphabet()).index(one) for one in "aÃ©"]


def test_texts_of_a_classifier_have_them_too(learnt):
    feature = Text(tokenizer=ByteBpe(), length=12, ends=True)
    row = feature.decode(tf.constant("So good it's true!"), learnt).numpy()
    assert row[0] == 2 and 3 in row.tolist()
    assert "So good it's true!".startswith(feature.in_words(row, learnt)) and feature.in_words(row, learnt)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UserError, match=r"tokenizers learns byte_bpe, and is not installed; .*'.\[text\]'"):
        byte_bpe.learned(["a"], 300)


def test_fewer_tokens_than_bytes_are_refused():
    with pytest.raises(ValueError, match="greater than or equal to 256"):
        ByteBpe(most=255)
