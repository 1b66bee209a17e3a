"""What of a text is hidden: how much, where, and that it can be found again."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines.features.feature import Field, Learnt
from pipelines.features.masked_text import BlankedText, MaskedPlaces, MaskedText, OriginalTokens, begins_word
from pipelines.features.masking import draw, restore
from pipelines.features.tokenizers.mask import MASK
from pipelines.features.tokenizers.tokenizer import END, PADDING, START, UNKNOWN
from pipelines.features.tokenizers.whitespace import Whitespace

TEXTS = [b"in the beginning god created the heaven and the earth", b"and the earth was without form",
         b"and god said let there be light", b"let there be a <MASK> in the midst of the waters"]


@pytest.fixture(scope="module")
def text():
    return MaskedText(tokenizer=Whitespace(min_count=1), length=16)


@pytest.fixture(scope="module")
def learnt(text):
    return text.learn(Field(kind="text"), TEXTS)


def batch(rows=2000, length=40, vocabulary=200):
    """Return texts of several lengths between a start and an end."""
    generator = np.random.default_rng(3)
    tokens = generator.integers(MASK + 1, vocabulary, (rows, length)).astype("int32")
    for row, size in zip(tokens, generator.integers(3, length + 1, rows), strict=True):
        row[0], row[size - 1], row[size:] = START, END, PADDING
    return tokens


@pytest.fixture(scope="module")
def drawn():
    tokens = batch()
    return tokens, draw(tf.constant(tokens), tf.constant([1, 2]), share=0.15, guesses=6, vocabulary=200)


def test_a_share_of_the_tokens_is_hidden_as_in_the_paper(drawn):
    tokens, guesses = drawn
    own = tokens > MASK
    hidden = guesses.originals.numpy() != PADDING
    expected = np.clip(np.round(np.float32(0.15) * own.sum(axis=1).astype("float32")), 1, 6)
    np.testing.assert_array_equal(hidden.sum(axis=1), expected)
    read = np.take_along_axis(guesses.tokens.numpy(), guesses.places.numpy(), 1)[hidden]
    known = guesses.originals.numpy()[hidden]
    assert (read == MASK).mean() == pytest.approx(0.8, abs=0.02)
    assert (read == known).mean() == pytest.approx(0.1, abs=0.02)  # and one of 195 of the others
    assert not np.isin(read, (PADDING, UNKNOWN, START, END)).any()
    changed = guesses.tokens.numpy() != tokens
    assert changed.sum() == (read != known).sum() and not changed[~own].any()


def test_every_place_is_as_likely(drawn):
    tokens, guesses = drawn
    whole = tokens[:, -1] != PADDING
    places = guesses.places.numpy()[whole][guesses.originals.numpy()[whole] != PADDING]
    counts = np.bincount(places, minlength=40)[1:-1]
    assert counts.min() > 0 and counts.max() < 4 * counts.mean()


def test_what_is_hidden_can_be_found_again(drawn):
    tokens, guesses = drawn
    np.testing.assert_array_equal(restore(*guesses), tokens)


def test_another_seed_hides_others_and_the_same_the_same():
    tokens = tf.constant(batch(50))
    settings = {"share": 0.15, "guesses": 6, "vocabulary": 200}
    first, again, other = (draw(tokens, tf.constant(seed), **settings) for seed in ([1, 2], [1, 2], [1, 3]))
    assert all((one.numpy() == two.numpy()).all() for one, two in zip(first, again, strict=True))
    assert (first.places.numpy() != other.places.numpy()).any(axis=1).mean() > 0.8


def test_words_are_hidden_whole():
    tokens = batch(400)
    begins = np.arange(200) % 3 > 0  # a third of the pieces are inside words
    guesses = draw(tf.constant(tokens), tf.constant([5, 6]), share=0.2, guesses=8, vocabulary=200,
                   begins=tf.constant(begins))
    for row, places, originals in zip(tokens, guesses.places.numpy(), guesses.originals.numpy(), strict=True):
        chosen = set(places[originals != PADDING].tolist())
        if len(chosen) == 8:
            continue  # there is no room for more
        for place in range(1, len(row) - 1):
            same_word = row[place] > MASK and row[place + 1] > MASK and not begins[row[place + 1]]
            assert not same_word or (place in chosen) == (place + 1 in chosen)


def test_the_features_of_a_text_go_together(text, learnt):
    places, originals = (kind(**dict(text)) for kind in (MaskedPlaces, OriginalTokens))
    for value in TEXTS:
        read, at, hidden = (one.decode(tf.constant(value), learnt).numpy() for one in (text, places, originals))
        np.testing.assert_array_equal(restore(read[None], at[None], hidden[None])[0], text.cut(value, learnt))
        assert (hidden != PADDING).sum() == max(1, round(0.15 * ((text.cut(value, learnt).numpy() > MASK).sum())))


def test_a_mask_that_somebody_wrote_is_unknown(text, learnt):
    tokens = text.cut(tf.constant(TEXTS[3]), learnt).numpy()
    assert MASK not in tokens and (tokens == UNKNOWN).sum() == 1
    assert [START, *(learnt.names.index(word) for word in ("let", "there", "be", "a"))] == tokens[:5].tolist()


def test_a_blank_is_a_mask(text, learnt):
    tokens, places = text.blanked(tf.constant(b"in the ___ god ___ light"), learnt)
    in_, the, god, light = (learnt.names.index(word) for word in ("in", "the", "god", "light"))
    assert tokens.numpy()[:9].tolist() == [START, in_, the, MASK, god, MASK, light, END, PADDING]
    assert places.numpy().tolist() == [3, 5, 0]
    blanked = BlankedText(**dict(text)).decode(tf.constant(b"___"), learnt)
    assert blanked.numpy()[:4].tolist() == [START, MASK, END, PADDING]


@pytest.mark.parametrize(("names", "begins"), [
    (["<PAD>", "a", "##b"], [True, True, False]), (["\u2581a", "b"], [True, False]), (["a", "b"], [True, True])])
def test_pieces_say_whether_words_begin_with_them(names, begins):
    assert begins_word(Learnt(names=names).names).tolist() == begins
