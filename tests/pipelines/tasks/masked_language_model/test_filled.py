"""Blanks are filled in wherever they stand."""
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from export.signature import Function, Signature, Tensor
from pipelines.features.feature import Learnt
from pipelines.features.masked_text import MaskedText
from pipelines.features.tokenizers.mask import MASK_NAME
from pipelines.features.tokenizers.tokenizer import ENDS, SPECIAL
from pipelines.features.tokenizers.wordpiece import WordPiece
from pipelines.tasks.masked_language_model.filled import fill

NAMES = [*SPECIAL, *ENDS, MASK_NAME, "in", "the", "of", "first", "second"]


TEXTS = {"___ in the": "first in the", "in ___ the": "in first the", "___ of ___": "first of second",
         "in the": "in the", "___": "first", "in the ___": "in the first", "": ""}


@pytest.mark.parametrize("ends", [False, True])
def test_the_first_blank_gets_the_first_guess_and_the_second_the_second(ends):
    """By a model that always guesses `first`, and then `second`."""
    read = MaskedText(tokenizer=WordPiece(), length=8, ends=ends, share=0.375)
    learnt, logits = Learnt(names=NAMES), np.zeros((1, read.guesses, len(NAMES)), "float32")
    logits[0, 0, NAMES.index("first")] = logits[0, 1, NAMES.index("second")] = logits[0, 2, NAMES.index("of")] = 1
    inputs = (Tensor(name="tokens", dtype="int32", shape=(8,)), Tensor(name="places", dtype="int32", shape=(3,)))
    output = Tensor(name="logits", dtype="float32", shape=logits.shape[1:], role="logits")
    function = Function(Signature(inputs=inputs, outputs=(output,)),
                        lambda tokens, places: {"logits": tf.repeat(logits, tf.shape(tokens)[0], axis=0)})
    data = SimpleNamespace(index=SimpleNamespace(learnt={"tokens": learnt}))
    filled = fill(function, data, read).call(text=tf.constant(list(TEXTS)))["filled"].numpy().tolist()
    assert [text.decode() for text in filled] == list(TEXTS.values())
