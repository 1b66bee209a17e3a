"""Templates as engines on devices take them, which render a conversation and cut the whole of its text.

They know a control token by how it is spelled, whoever wrote it. Here it is spelled as a private character, of `MARKS`,
that the template takes out of what people say: so no text of theirs becomes one.
"""
from __future__ import annotations

import dataclasses
import json

from export.chat.pieces import CLOSE, END, MARKS, OPEN, START, rendered
from export.chat.templates import ASSISTANT, SYSTEM, USER, Template, Turn


@dataclasses.dataclass(frozen=True)
class Spaces:
    """What an engine makes of white space, and what a template does so that it cuts texts as they are cut here: between
    two control tokens each by itself.

    Args:
        around: control tokens stand between spaces, which the engine takes for parts of them.
        single: words stand between single spaces, which the engine does not see to itself.
        small: and capitals are small letters.
    """

    around: bool = False
    single: bool = False
    small: bool = False


AS_THEY_ARE = Spaces()


def jinja(template: str, spaces: Spaces = AS_THEY_ARE) -> str:
    """Return a template that an engine renders to what it cuts into a model's tokens, but for the start token at the
    beginning, which it puts before every text itself.

    Args:
        template: as in `pieces`.
    """
    freed = "".join(f" | replace({_quoted(mark)}, '')" for mark in MARKS)
    return (_said(START, END, freed) + "{% set written %}{{ '' }}" + template.removesuffix("\n")
            + "{{ '' }}{% endset %}{% set written = written[1:] if written[:1] == bos_token else written %}"
            + _up_to_the_end(template) + _spaced(spaces) + "{{ written }}")


def _up_to_the_end(template: str) -> str:
    """Return what leaves out what a template writes behind the end of an answer, where nothing is asked behind it:
    engines that go on with a conversation have read up to the end, and read then what was not rendered before."""
    _, end, behind = turns(template).model.behind.rpartition(END)
    if not end or not behind:
        return ""
    return ("{% if messages and messages[-1]['role'] == 'assistant' and not add_generation_prompt %}"
            "{% set written = written[:(written | length) - " + str(len(behind)) + "] %}{% endif %}")


def with_texts(template: str, start: str, end: str) -> str:
    """Return a template whose control tokens are texts, for models that have learnt none.

    Args:
        template: as in `pieces`.
        start, end: these texts.
    """
    return _said(start, end, "") + "{{ '' }}" + template.removesuffix("\n")


def _said(start: str, end: str, freed: str) -> str:
    """Return what gives a template its names: what people say may be parts, of which texts are taken, and `model` is
    another name of `assistant`.

    Args:
        freed: filters that take control tokens out of what people say.
    """
    return ("{% set bos_token = " + _quoted(start) + " %}{% set eos_token = " + _quoted(end) + " %}"
            "{% set own = namespace(messages=[], text='') %}{% for message in messages %}{% set own.text = '' %}"
            "{% if message['content'] is string %}{% set own.text = message['content'] %}"
            "{% elif message['content'] %}{% for part in message['content'] %}"
            "{% set own.text = own.text + part['text'] %}{% endfor %}{% endif %}"
            "{% set own.messages = own.messages + [{'role': 'assistant' if message['role'] == 'model' else "
            "message['role'], 'content': own.text" + freed + "}] %}{% endfor %}{% set messages = own.messages %}")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # escaped, llama.cpp does not read them


def _spaced(spaces: Spaces) -> str:
    """Return what is done to what has been written."""
    around = "".join(f" | replace({name}, ' ' + {name} + ' ')" for name in ("bos_token", "eos_token"))
    if spaces.around:
        return "{% set written = written" + around + " %}"
    if not spaces.single:
        return ""
    close = "".join(f" | replace(' ' + {name}, {name}) | replace({name} + ' ', {name})"
                    for name in ("bos_token", "eos_token"))
    breaks = "".join(f" | replace({character}, ' ')" for character in (r"'\n'", r"'\t'", r"'\r'"))
    small = " | lower" if spaces.small else ""
    return ("{% set written = written" + around + breaks + " %}"
            "{% set own.text = '' %}{% for word in written.split(' ') %}{% if word %}"
            "{% set own.text = own.text + (' ' if own.text else '') + word %}{% endif %}{% endfor %}"
            "{% set written = own.text" + close + small + " %}")


def turns(template: str, spaces: Spaces = AS_THEY_ARE, *, start: str = START, end: str = END) -> Template:
    """Return what a template writes around turns, as far as it does so to each by itself: for those who put it there
    without jinja.

    Args:
        template: as in `pieces`.
        start, end: what stands for the control tokens.
    """
    if spaces.around:
        start, end = f" {start} ", f" {end} "
    user, asked = (_rendered(template, (USER,), start, end, prompt=prompt) for prompt in (False, True))
    _, _, behind = _rendered(template, (USER, ASSISTANT), start, end).partition(f"{OPEN}1{CLOSE}")
    return Template(user=_around(user, start), system=_around(_rendered(template, (SYSTEM,), start, end), start),
                    model=Turn(before=asked[len(user):], behind=behind))


def ends(around: Template) -> bool:
    """Return whether the end token ends a turn of the model."""
    return END in around.model.behind


def _rendered(template: str, roles: tuple[str, ...], start: str, end: str, *, prompt: bool = False) -> str:
    """Return what a template writes of messages of some roles, a mark with its number in the place of each; nothing
    where it refuses them."""
    messages = [{"role": role, "content": f"{OPEN}{number}{CLOSE}"} for number, role in enumerate(roles)]
    try:
        return rendered(template, messages, prompt=prompt, start=start, end=end)
    except ValueError:
        return ""


def _around(text: str, start: str) -> Turn:
    before, mark, behind = text.partition(f"{OPEN}0{CLOSE}")
    if START in start:  # the engine puts it before every text
        before = before.removeprefix(start)
    return Turn(before=before, behind=behind) if mark else Turn()
