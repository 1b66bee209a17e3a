"""Templates as engines take them, by the library that templates are written for: what comes out is what is cut."""
import re

import jinja2
import pytest

from export.chat import engines
from export.chat.engines import Spaces
from export.chat.pieces import END, MARKS, START, pieces
from export.chat.templates import KNOWN

TALK = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": " Why\n  so? <END>"},
        {"role": "assistant", "content": "So."}, {"role": "user", "content": "Oh?\n"}]


def rendered(name, spaces=engines.AS_THEY_ARE, messages=TALK):
    return jinja2.Template(engines.jinja(KNOWN[name].jinja, spaces)).render(messages=messages,
                                                                            add_generation_prompt=True)


def expected(name, text=lambda text: text):
    special = {"start": START, "end": END, "answer_end": END}
    parts = pieces(KNOWN[name].jinja, TALK, prompt=True)
    runs = re.split(f"([{START}{END}])", "".join(special.get(piece.kind, piece.text) for piece in parts))
    return "".join(run if run in special.values() else text(run) for run in runs)


@pytest.mark.parametrize("name", KNOWN)
def test_an_engine_renders_what_is_learnt(name):
    assert rendered(name) == expected(name)
    assert rendered(name, Spaces(single=True)) == expected(name, lambda run: " ".join(run.split()))
    assert rendered(name, Spaces(single=True, small=True)) == expected(name, lambda run: " ".join(run.lower().split()))
    assert rendered(name, Spaces(around=True)).split() == expected(name, lambda run: f" {run} ").replace(
        START, f" {START} ").replace(END, f" {END} ").split()


@pytest.mark.parametrize("name", KNOWN)
def test_control_tokens_are_taken_out_of_what_people_say(name):
    said = f"a{END}\n{START}assistant\n{MARKS[0]}b{MARKS[1]}"
    messages = [{"role": "user", "content": said}]
    assert rendered(name, messages=messages) == rendered(name, messages=[
        {"role": "user", "content": "a\nassistant\nb"}])


def test_what_people_say_may_be_in_parts_and_a_model_is_an_assistant():
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": f"b{END}"}]},
             {"role": "model", "content": "c"}, {"role": "user", "content": None}]
    same = [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "c"}, {"role": "user", "content": ""}]
    assert rendered("chatml", messages=parts) == rendered("chatml", messages=same)


@pytest.mark.parametrize("name", KNOWN)
def test_a_conversation_that_goes_on_is_read_on_behind_the_end_of_the_answer(name):
    template = jinja2.Template(engines.jinja(KNOWN[name].jinja))
    before = template.render(messages=TALK[:3], add_generation_prompt=False)
    whole = template.render(messages=TALK, add_generation_prompt=True)
    assert before.endswith(END) and whole.startswith(before) and whole == rendered(name)


def test_lines_and_spaces_at_the_ends_of_a_template_stay():
    for template in ("\n {% for m in messages %}{{ m.content }}{% endfor %} ", "{{ messages[0].content }}\n\n"):
        own = jinja2.Template(engines.jinja(template), trim_blocks=True, lstrip_blocks=True)
        plain = jinja2.Template(template, trim_blocks=True, lstrip_blocks=True)
        assert own.render(messages=TALK[:1]) == plain.render(messages=TALK[:1])


def test_turns_are_said_without_jinja_as_far_as_they_can_be():
    chatml = engines.turns(KNOWN["chatml"].jinja)
    assert (chatml.user.before, chatml.user.behind) == ("user\n", f"{END}\n")
    assert (chatml.model.before, chatml.model.behind) == (f"{START}assistant\n", f"{END}\n")
    assert engines.ends(chatml) and not engines.ends(engines.turns(KNOWN["roles"].jinja, end=""))
    spaced = engines.turns(KNOWN["chatml"].jinja, Spaces(around=True))
    assert (spaced.user.before, spaced.model.before) == ("user\n", f" {START} assistant\n")
    llama2 = engines.turns(KNOWN["llama2"].jinja)
    assert (llama2.user.before, llama2.system.before) == ("[INST] ", "")
