"""Tokenizers as files of SentencePiece: its own library cuts texts with them as the tokenizers do."""
import numpy as np
import pytest
import sentencepiece
import tensorflow as tf

from pipelines.features.tokenizers.character import Character
from pipelines.features.tokenizers.sentencepiece import Bpe, SentencePiece
from pipelines.features.tokenizers.tokenizer import ENDS, SPECIAL
from pipelines.features.tokenizers.word import Word
from pipelines.ingest.sources import bible
from pipelines.targets import sentencepiece_model

SPECIAL_TOKENS = (*SPECIAL, *ENDS)
#: Among them are tabs and line breaks, a mark of SentencePiece's own, special tokens and characters that are unknown.
TEXTS = ["In the beginning was the Word", "  and\tthe  Word\nwas\u2028with  ", "JESUS wept.", "", "the\u2581Lord said",
         "<PAD> and <START>", "caf\u00e9 and \u00c9lan", "\u65e5\u672c the king \u65e5"]


@pytest.fixture(scope="module")
def learnt_from():
    return [text.encode() for _, _, text in bible.chapters(bible.GOSPELS)][:4]


@pytest.mark.parametrize("tokenizer", [
    Bpe(most=150), SentencePiece(most=120, lower=False), Character(), Character(lower=True),
    pytest.param(Bpe(most=120, lower=False), marks=pytest.mark.slow),
    pytest.param(SentencePiece(most=150), marks=pytest.mark.slow)], ids=lambda one: f"{one.entry_name}-{one.lower}")
def test_sentencepiece_cuts_texts_as_the_tokenizer_does(tokenizer, learnt_from):
    learnt = tokenizer.learn(learnt_from, SPECIAL_TOKENS)
    library = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model.written(tokenizer, learnt))
    assert [library.pad_id(), library.unk_id(), library.bos_id(), library.eos_id()] == [0, 1, 2, 3]
    assert library.get_piece_size() == len(learnt.names)
    cut = tf.function(lambda text: tokenizer.tokens(text, learnt, 200), input_signature=[tf.TensorSpec((), tf.string)])
    verses = [text.decode()[start:start + 180] for text in learnt_from for start in (0, 400)]
    for text in [*TEXTS, *verses]:
        expected = cut(text).numpy()
        neighbours = (expected[1:] == 1) & (expected[:-1] == 1)
        if isinstance(tokenizer, Character):
            expected = expected[~np.concatenate([[False], neighbours])[:len(expected)]]
        assert library.encode(text) == expected.tolist(), text
        if 1 not in expected:
            assert library.decode(expected.tolist()) == tokenizer.text([learnt.names[one] for one in expected])


def test_tokenizers_that_sentencepiece_does_not_know_are_refused(learnt_from):
    with pytest.raises(ValueError, match=r"does not cut texts as word does; give data\.tokens\.tokenizer: bpe"):
        sentencepiece_model.written(Word(), Word().learn(learnt_from, SPECIAL_TOKENS))
    learnt = Character().learn([b"a\xe2\x96\x81b"], SPECIAL_TOKENS)
    with pytest.raises(ValueError, match="which SentencePiece takes for a space"):
        sentencepiece_model.written(Character(), learnt)
