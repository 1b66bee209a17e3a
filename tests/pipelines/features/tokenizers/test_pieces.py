"""Pieces of words against the libraries that they are named after."""
import sys

import pytest
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.features.tokenizers import trained
from pipelines.features.tokenizers.sentencepiece import SCORES, Bpe, SentencePiece
from pipelines.features.tokenizers.tokenizer import UNKNOWN
from pipelines.features.tokenizers.word import Word
from pipelines.features.tokenizers.wordpiece import WordPiece
from tests.pipelines.features.tokenizers.odd_strings import odd, real

SPECIAL = ("<PAD>", "<UNKNOWN>")
TOKENIZERS = {"unigram": SentencePiece(most=600), "bpe": Bpe(most=600)}


@pytest.fixture(scope="module")
def texts():
    return [text.encode() for text in real(400)]


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def pieces(request, texts):
    tokenizer = TOKENIZERS[request.param]
    return tokenizer, tokenizer.learn(texts, SPECIAL)


def cutter(tokenizer, learnt, most=10_000):
    """Return a function of a string to its tokens' numbers, traced once as in a served graph."""
    traced = tf.function(lambda text: tokenizer.tokens(text, learnt, most), [tf.TensorSpec((), tf.string)])
    return lambda text: traced(text.encode()).numpy().tolist()


def library(tokenizer, learnt):
    """Return SentencePiece's own processor with the very same pieces and scores."""
    from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    model.trainer_spec.model_type = {"unigram": 1, "bpe": 2}[tokenizer.algorithm]
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = model.normalizer_spec.remove_extra_whitespaces = True
    model.normalizer_spec.escape_whitespaces = True
    model.pieces.add(piece="<unk>", score=0, type=2)
    for name, score in zip(learnt.names[len(SPECIAL):], learnt.statistics[SCORES], strict=True):
        model.pieces.add(piece=name, score=score)
    return SentencePieceProcessor(model_proto=model.SerializeToString())


def test_tokens_are_those_of_sentencepiece(pieces, texts):
    """The library is given what this makes of white space and capitals; it numbers from <unk> on, which is 0."""
    tokenizer, learnt = pieces
    processor, cut = library(tokenizer, learnt), cutter(tokenizer, learnt)
    for text in [*real(40), *odd(80)]:
        (spaced,) = list(tokenizer._spaced([text.replace("\n", " ").encode()])) or [""]
        expected = [number + len(SPECIAL) - 1 if number else UNKNOWN for number in processor.encode(spaced)]
        assert cut(text) == expected, repr(text)


def test_text_comes_back_but_for_white_space_and_capitals(pieces):
    tokenizer, learnt = pieces
    cut = cutter(tokenizer, learnt)
    for text in real(40):
        numbers = cut(text)
        if UNKNOWN not in numbers:
            assert tokenizer.text(learnt.names[number] for number in numbers) == " ".join(text.lower().split())


def test_a_vocabulary_has_as_many_pieces_as_asked_for(pieces, texts):
    tokenizer, learnt = pieces
    assert learnt.names[:2] == list(SPECIAL) and len(set(learnt.names)) == len(learnt.names)
    assert 500 < len(learnt.names) <= 602
    assert tokenizer.learn(texts, SPECIAL) == learnt  # the same texts, the same pieces


def wordpiece_of_bert(word, names):
    """Return the pieces of a word as in BERT's tokenization.py: greedy, longest first."""
    start, cut = 0, []
    while start < len(word):
        end = len(word)
        while start < end and ("##" if start else "") + word[start:end] not in names:
            end -= 1
        if start == end:
            return ["<UNKNOWN>"]
        cut.append(("##" if start else "") + word[start:end])
        start = end
    return cut


def test_wordpieces_are_those_of_bert(texts):
    tokenizer = WordPiece(most=500)
    learnt = tokenizer.learn(texts, SPECIAL)
    cut, names = cutter(tokenizer, learnt), set(learnt.names)
    assert any(name.startswith("##") and len(name) > 4 for name in names)
    for text in [*real(40), *odd(80)]:
        words = [word.decode() for word in Word().words(tf.constant(text.encode()), 10_000).numpy()]
        expected = [piece for word in words for piece in wordpiece_of_bert(word, names)]
        assert [learnt.names[number] for number in cut(text)] == expected, repr(text)


def test_wordpieces_in_words():
    assert WordPiece().text(["un", "##believ", "##able", "film"]) == "unbelievable film"


@pytest.mark.parametrize("tokenizer", [SentencePiece(), Bpe(), WordPiece()])
def test_too_few_texts_are_refused(tokenizer):
    with pytest.raises(UserError, match=r"cannot learn 8,000 pieces of the training texts: .*Give fewer"):
        tokenizer.learn([b"\x00"], SPECIAL)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(UserError, match=r"sentencepiece is not installed; .venv/bin/pip install -e '.\[text\]'"):
        trained.learn(["a b"], "bpe", 10)
