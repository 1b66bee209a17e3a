"""Conversations as recipes and sources have them: templates out of files, and messages that cannot be."""
import json

import pytest

from export.chat.pieces import MARKS
from export.chat.templates import KNOWN
from pipelines.errors import UserError
from pipelines.features.chat_template import begins_again, messages_of, pieces, source
from pipelines.features.conversation import Conversation

TALK = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]


def test_templates_come_by_name_and_out_of_files(tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text("{% for m in messages %}{{ m.content }}|{% endfor %}")
    assert source("chatml") == KNOWN["chatml"].jinja
    assert "".join(piece.text for piece in pieces(source(str(path)), TALK)) == "Why?|So.|"
    with pytest.raises(UserError, match="is no template; give one of plain, roles, chatml"):
        source("chatMl")


def test_what_is_wrong_with_a_template_is_a_line_that_names_the_setting(tmp_path):
    path = tmp_path / "bad.jinja"
    path.write_text("{{ messages[0]['content'] }}")
    for call in (lambda: pieces(source(str(path)), TALK), lambda: begins_again(str(path))):
        with pytest.raises(UserError, match=r"^data\.tokens\.template: it writes the messages \[1\] of"):
            call()


def test_the_template_alone_says_where_answers_end():
    with pytest.raises(ValueError, match="must be true: the template says where an answer ends"):
        Conversation(ends=False)


@pytest.mark.parametrize(("value", "message"), [
    (b"no", "it is not JSON"), (b"{}", "has no messages"), (b"[]", "has no messages"), (b"[1]", "a message 1 without"),
    (b'[{"role": "user"}]', "a message 1 without content"),
    (b'[{"role": "user", "content": "\\ud800"}]', "a message 1 that is not UTF-8"),
    (b'[{"role": "tool", "content": "x"}]', "a message 1 of 'tool'; roles are system, user, assistant"),
    (b'[{"role": "user", "content": "x"}, {"role": "system", "content": "x"}]', "can be the first alone")])
def test_messages_that_cannot_be_are_named(value, message):
    with pytest.raises(ValueError, match=message):
        messages_of(value)


@pytest.mark.parametrize("mark", MARKS)
def test_characters_that_stand_for_control_tokens_are_refused(mark):
    with pytest.raises(ValueError, match=f"private character U\\+{ord(mark):X} in message 1"):
        messages_of(json.dumps([{"role": "user", "content": f"a{mark}"}]).encode())
