"""Conversations out of files, and out of the examples of another source; and those that cannot be."""
import json

import pytest

from pipelines.errors import UserError
from pipelines.ingest.sources.conversations import Conversations
from pipelines.ingest.sources.prompts import Prompts
from pipelines.recipe import file as recipe_file
from tests.conftest import ROOT


def said(table):
    return [[(one["role"], one["content"]) for one in json.loads(row)] for row in table.columns["messages"]]


def test_chats_and_pairs_are_conversations(tmp_path):
    chat = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Sö."}], "id": 7}
    (tmp_path / "one.jsonl").write_text(f'{json.dumps(chat)}\n\n{json.dumps({"prompt": "Who?", "answer": "I."})}\n')
    source = Conversations(path=str(tmp_path / "one.jsonl"), system="Be brief.")
    table = source.tables()["train"]
    assert said(table) == [[("system", "Be brief."), ("user", "Why?"), ("assistant", "Sö.")],
                           [("system", "Be brief."), ("user", "Who?"), ("assistant", "I.")]]
    assert table.columns["question"].tolist() == [b"Why?", b"Who?"] and source.grouped_by == "question"


def test_a_line_of_json_ends_at_a_new_line_alone(tmp_path):
    answer = "one\u2028two\x85three"
    row = json.dumps({"prompt": "Who?", "answer": answer}, ensure_ascii=False)
    (tmp_path / "one.jsonl").write_bytes(f"{row}\r\n{row}\n".encode())
    table = Conversations(path=str(tmp_path / "one.jsonl")).tables()["train"]
    assert said(table) == 2 * [[("user", "Who?"), ("assistant", answer)]]


def test_files_of_a_folder_are_parts(tmp_path):
    for name in ("train", "more", "test"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"q": name, "a": "yes"}) + "\n")
    tables = Conversations(path=str(tmp_path), prompt="q", answer="a").tables()
    assert {part: table.rows for part, table in tables.items()} == {"train": 2, "test": 1}


@pytest.mark.parametrize(("content", "message"), [
    ("", "there is nothing to train on"), ("{", "one.jsonl line 1 is not JSON"),
    ("[1]", "has neither messages nor both prompt and answer"), ('{"prompt": "x"}', "has neither messages nor both"),
    ('{"messages": []}', "line 1 has no messages"), ('{"messages": [{"role": "bot", "content": "x"}]}', "of 'bot'"),
    ('{"messages": "x"}', "line 1 has no messages")])
def test_lines_that_are_no_conversation_are_named(tmp_path, content, message):
    (tmp_path / "one.jsonl").write_text(content)
    with pytest.raises(UserError, match=message):
        Conversations(path=str(tmp_path / "one.jsonl")).tables()


def test_files_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"is not there, or has no \.jsonl files"):
        Conversations(path=str(tmp_path)).fingerprint()
    (tmp_path / "test.jsonl").write_text("{}")
    with pytest.raises(UserError, match="has test, and nothing to train on"):
        Conversations(path=str(tmp_path)).fingerprint()


def test_questions_are_made_of_another_source(tmp_path):
    source = Prompts.model_validate({"source": {"bible": {"window": 60}}, "prompt": "{text}Who? { x }",
                                       "answer": "{book}", "words": {"Mat": "Matthew"}, "otherwise": "another",
                                       "most": 50})
    table = source.tables()["train"]
    texts = source.source.tables()["train"]
    assert table.rows == 50 and source.grouped_by == "chapter"
    first, last = said(table)[0], said(table)[-1]
    assert first == [("user", texts.columns["text"][0].decode() + "Who? { x }"), ("assistant", "Matthew")]
    assert last[1] == ("assistant", "another") and table.columns["chapter"][-1] == texts.columns["chapter"][-1]
    assert source.fingerprint() != source.model_copy(update={"answer": "{chapter}"}).fingerprint()


def test_classes_are_answered_by_their_names():
    source = Prompts.model_validate({"source": "vader", "prompt": "Good or bad? {text}", "answer": "{label}"})
    answers = {one[1][1] for one in said(source.tables()["train"])}
    assert answers == {"positive", "negative"}


@pytest.mark.parametrize(("prompt", "message"), [
    ("{txt}?", "bible has no field txt; it has text, chapter, book"), ("Who?", "names no field of bible")])
def test_questions_about_nothing_are_refused(prompt, message):
    source = Prompts.model_validate({"source": "bible", "prompt": prompt, "answer": "yes"})
    with pytest.raises(UserError, match=message):
        source.tables()


@pytest.mark.parametrize("name", ["llama", "llama_lora"])
def test_the_recipes_can_be_read(name):
    recipe = recipe_file.read(ROOT / f"recipes/language/{name}.yaml")
    assert recipe.name == name and recipe.model.builder == "llama"
