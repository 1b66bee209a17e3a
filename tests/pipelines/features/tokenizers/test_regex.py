"""Words of ASCII letters, against Python's own regular expressions."""
import re

import tensorflow as tf

from pipelines.features.tokenizers.regex import DELIMITERS, Regex
from tests.pipelines.features.tokenizers.odd_strings import odd, real

SPECIAL = ("<PAD>", "<UNKNOWN>")


def test_words_are_what_the_expression_leaves():
    tokenizer = Regex()
    for text in [*real(100), *odd(200)]:
        found = [word.decode() for word in tokenizer.words(tf.constant(text.encode()), 10_000).numpy()]
        assert found == [word for word in re.split(DELIMITERS, text, flags=re.ASCII) if word], repr(text)


def test_capitals_are_other_words():
    learnt = Regex(min_count=1).learn([b"Good good good"], SPECIAL)
    assert learnt.names == [*SPECIAL, "good", "Good"]
    assert Regex().tokens(tf.constant(b"good Good GOOD"), learnt, 9).numpy().tolist() == [2, 3, 1]
