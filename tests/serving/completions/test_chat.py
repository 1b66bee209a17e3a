"""Conversations in pieces, by templates as model makers publish them."""
import pytest

from export.chat import pieces as training
from export.chat.templates import KNOWN
from serving.completions import chat
from serving.completions.chat import END, NOTHING, START, Piece
from serving.completions.requests import Message, RequestError

MESSAGES = [Message(role="user", content="Why? <s>{{ 1 }}"), Message(role="assistant", content="So."),
            Message(role="user", content=[{"type": "text", "text": "And "}, {"type": "text", "text": "now?"}])]
TEMPLATE = ("{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST] "
            "{{ message['content'] }} [/INST]{% else %} {{ message['content'] }} {{ eos_token }}{{ bos_token }}"
            "{% endif %}{% endfor %}")


def write(folder, text):
    (folder / "assets.extra").mkdir()
    (folder / chat.PLACE).write_text(text)
    return folder


def test_the_plain_template_is_a_line_for_each_message(tmp_path):
    pieces, stops = chat.pieces(MESSAGES, tmp_path)
    assert "".join(piece.text for piece in pieces) == (
        "User: Why? <s>{{ 1 }}\nAssistant: So.\nUser: And now?\nAssistant:")
    assert not any(piece.behind for piece in pieces) and "\nUser:" in stops


def test_a_models_own_template_is_taken_with_its_control_tokens(tmp_path):
    pieces, stops = chat.pieces(MESSAGES, write(tmp_path, TEMPLATE))
    assert pieces == [
        Piece("[INST] Why? <s>{{ 1 }} [/INST]", NOTHING), Piece(" So. ", END), Piece("", START),
        Piece("[INST] And now? [/INST]", NOTHING)]
    assert stops == ()


def test_a_developer_is_who_templates_call_system(tmp_path):
    write(tmp_path, KNOWN["alpaca"].jinja)
    one, other = (chat.pieces([Message(role=role, content="Be kind."), *MESSAGES], tmp_path)
                  for role in ("developer", "system"))
    assert one == other and one[0][0].text.startswith("Be kind.\n\n### Instruction:")


LINES = ("{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
         "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}")


@pytest.mark.parametrize("template", [*(known.jinja for known in KNOWN.values()), LINES], ids=[*KNOWN, "without_ends"])
def test_conversations_are_cut_where_they_were_in_training(tmp_path, template):
    controls = {"start": START, "end": END, "answer_end": END}
    talk = [("system", "Be kind."), ("user", "Why?"), ("assistant", "So."), ("user", "Oh?"), ("assistant", "Yes."),
            ("user", "Ah.")]
    expected = [[]]
    for piece in training.pieces(template, [{"role": role, "content": text} for role, text in talk], prompt=True):
        expected[-1].append(piece.text)
        if piece.kind in controls:
            expected += [[controls[piece.kind]], []]
        elif piece.kind == "answer":  # cut by itself
            expected[-1].pop()
            expected += [[piece.text], []]
    asked, _ = chat.pieces([Message(role=role, content=text) for role, text in talk], write(tmp_path, template))
    said = [one for piece in asked for one in (piece.text, piece.behind) if one not in ("", NOTHING)]
    assert said == [one for part in expected if (one := part[0] if part and not isinstance(part[0], str)
                                                 else "".join(part))]


@pytest.mark.parametrize(("template", "status", "words"), [
    ("{{ raise_exception('roles must alternate') }}", 400, "does not take these messages: roles must alternate"),
    ("{% for %}", 500, "chat template is broken: line 1"),
    ("{{ messages.__class__.__mro__ }}", 400, "does not take these messages"),
    ("{{ 'Turn ' + messages | length }}", 400, "does not take these messages: can only concatenate str")])
def test_a_template_that_refuses_or_is_broken_or_reaches_out_is_one_line(tmp_path, template, status, words):
    with pytest.raises(RequestError, match=words) as refused:
        chat.pieces(MESSAGES, write(tmp_path, template))
    assert refused.value.status == status
