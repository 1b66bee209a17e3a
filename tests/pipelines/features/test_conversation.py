"""Conversations as tokens: what is read, what is learnt, and vocabularies of other runs."""
import json

import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.features import Field
from pipelines.features.conversation import Answers, Conversation
from pipelines.features.tokenizers.tokenizer import END, PADDING, START

FIELD = Field(kind="text")


def talk(*contents):
    roles = ("user", "assistant")
    return json.dumps([{"role": roles[number % 2], "content": text} for number, text in enumerate(contents)]).encode()


def both(feature, value):
    """Return what is read of a conversation and what of it is learnt, a character or special token each."""
    learnt = feature.learn(FIELD, [talk("abcdefg <>END?\n", "hij")])
    answers = Answers().beside({"tokens": feature})
    names = {number: name for number, name in enumerate(learnt.names)}
    return ([names[number] for number in one.load(value, learnt).numpy()] for one in (feature, answers))


def test_answers_and_their_ends_are_learnt_alone():
    read, answers = both(Conversation(length=12), talk("ab", "hi", "c", "j"))
    assert read == ["<START>", "a", "b", "\n", "h", "i", "<END>", "c", "\n", "j", "<PAD>", "<PAD>"]
    assert answers == ["<PAD>", "<PAD>", "<PAD>", "h", "i", "<END>", "<PAD>", "<PAD>", "j", "<END>", "<PAD>", "<PAD>"]


def test_of_long_conversations_the_beginning_is_left_out():
    read, answers = both(Conversation(length=6), talk("abcdefg", "hi"))
    assert read == ["<START>", "f", "g", "\n", "h", "i"]
    assert answers == ["<PAD>", "<PAD>", "<PAD>", "h", "i", "<END>"]


def test_special_tokens_in_messages_are_text():
    read, answers = both(Conversation(length=20), talk("<END>", "h"))
    assert read[:8] == ["<START>", "<", "E", "N", "D", ">", "\n", "h"] and answers.count("<END>") == 1


def test_a_prompt_is_read_up_to_where_its_answer_begins():
    feature = Conversation(length=12)
    learnt = feature.learn(FIELD, [talk("abc", "hi")])
    prompt = feature.decode(b"ab", learnt).numpy()
    whole = feature.load(talk("ab", "hi"), learnt).numpy()
    assert prompt[:4].tolist() == whole[:4].tolist() and (prompt[4:] == PADDING).all()
    assert whole[0] == START and END not in whole[:6]


@pytest.mark.parametrize(("value", "message"), [
    (talk("a"), "does not end with an answer"), (talk("a", " "), "does not end with an answer"), (b"a", "is not JSON")])
def test_conversations_without_an_answer_are_refused(value, message):
    feature = Conversation()
    assert message in feature.fault(value, feature.learn(FIELD, ()))
    assert feature.fault(talk("a", "b"), feature.learn(FIELD, ())) is None


@pytest.fixture
def run(tmp_path):
    learnt = {"names": ["<PAD>", "<UNKNOWN>", "<START>", "<END>", "b", "a"]}
    (tmp_path / "ingest").mkdir()
    (tmp_path / "ingest" / "index.json").write_text(json.dumps({"digest": "x7", "learnt": {"tokens": learnt}}))
    tokens = {"tokenizer": Conversation().tokenizer.written()}
    (tmp_path / "run.json").write_text(json.dumps({"recipe": {"data": {"tokens": tokens}}}))
    return tmp_path


def test_tokens_have_the_numbers_of_the_run_that_they_are_of(run):
    feature = Conversation(vocabulary=str(run), length=6)
    learnt = feature.learn(FIELD, [talk("xyz", "xyz")])
    assert learnt.names == ["<PAD>", "<UNKNOWN>", "<START>", "<END>", "b", "a"]
    assert np.array_equal(feature.load(talk("a", "b"), learnt), [2, 5, 1, 4, 0, 0])
    assert feature.fingerprint() == "x7"


def test_runs_without_these_tokens_are_refused(run):
    with pytest.raises(UserError, match="is not a run with a vocabulary"):
        Conversation(vocabulary=str(run / "none")).learn(FIELD, ())
    with pytest.raises(UserError, match=r"data\.tokens\.tokenizer is .*word.*; give the same"):
        Conversation(vocabulary=str(run), tokenizer="word").learn(FIELD, ())
    (run / "run.json").write_text(json.dumps({"recipe": {"data": {"image": {}}}}))
    with pytest.raises(UserError, match="has no tokens called tokens"):
        Conversation(vocabulary=str(run)).learn(FIELD, ())
