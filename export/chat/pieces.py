"""What a template makes of a conversation: pieces of text and the control tokens between them. What people say is never
read as a template's own words: it is put in when the rest is written."""
from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from etils import epy

from export.chat.templates import ASSISTANT, USER
from export.errors import first_line

with epy.lazy_imports():
    import jinja2

Message = Mapping[str, str]
#: What a piece of a conversation is: written by the template or by people, what the model is to answer, or the tokens
#: that stand before and behind.
Kind = Literal["text", "answer", "start", "end", "answer_end"]
#: Private characters, which no text should have: around the number of a message, in whose place it is put, and for the
#: tokens that stand before and behind a text.
MARKS = ("\ue000", "\ue001", "\ue002", "\ue003")
OPEN, CLOSE, START, END = MARKS
SPLIT = re.compile(f"({OPEN}\\d+{CLOSE}|{START}|{END})")
#: What a template that changes what people say does not leave as it is: white space at the ends, small letters and
#: capitals.
ENDS = ("\u2003aA", "aA\u2003")


class Piece(NamedTuple):
    """A piece of a conversation that has been written."""

    text: str
    kind: Kind


def pieces(template: str, messages: Sequence[Message], *, prompt: bool = False) -> list[Piece]:
    """Return the pieces of a conversation, in their order, but for a start token at its beginning, which stands before
    every text.

    What a message says is a piece of its own, whatever is written in it. An answer is all that a model writes behind
    what asks for it: with what the template writes before and behind its content, and the end token.

    Args:
        template: of jinja, over `messages`, `bos_token`, `eos_token` and `add_generation_prompt`.
        prompt: behind them stands what an answer begins with.

    Raises:
        ValueError: the template cannot be read, leaves a message out, changes what it says, or asks for answers in
            another way than it writes them.
    """
    contents = [message["content"] for message in messages]
    return [Piece(re.sub(f"{OPEN}(\\d+){CLOSE}", lambda match: contents[int(match[1])], piece.text), piece.kind)
            for piece in _skeleton(template, tuple(message["role"] for message in messages), prompt)]


@functools.lru_cache(4096)
def _skeleton(template: str, roles: tuple[str, ...], prompt: bool) -> list[Piece]:
    """Return the same with the numbers of messages in their places."""
    text = rendered(template, _stand_ins(roles), prompt=prompt)
    seen = [int(number) for number in re.findall(f"{OPEN}(\\d+){CLOSE}", text)]
    if seen != list(range(len(roles))):
        raise ValueError(f"it writes the messages {[number + 1 for number in seen]} of {len(roles)}; it must write "
                         "each once, in their order")
    longer = [{**message, "content": message["content"].join(ENDS)} for message in _stand_ins(roles)]
    changed = rendered(template, longer, prompt=prompt)
    if not all(message["content"] in changed for message in longer):
        raise ValueError("it changes what messages say, as the filter trim does; leave that out")
    result: list[Piece] = []
    at = 0
    for number, role in enumerate(roles):
        if role == ASSISTANT:
            begin = _begin_of_answer(template, text, roles, number)
            result += _split(text[at:begin])
            end = text.index(CLOSE, text.index(f"{OPEN}{number}{CLOSE}")) + 1
            if behind := re.match(f"([^{OPEN}{START}{END}]*){END}", text[end:]):
                result += [Piece(text[begin:end] + behind[1], "answer"), Piece("", "answer_end")]
                at = end + behind.end()
            else:
                result.append(Piece(text[begin:end], "answer"))
                at = end
    result += _split(text[at:])
    return result[1:] if result and result[0].kind == "start" else result


def _begin_of_answer(template: str, text: str, roles: tuple[str, ...], number: int) -> int:
    """Return where an answer begins in a text: behind what asks for it. Raises ValueError."""
    place = text.index(f"{OPEN}{number}{CLOSE}")
    try:
        asked = rendered(template, _stand_ins(roles[:number]), prompt=True)
    except ValueError:
        if number:
            raise
        asked = text[:place]  # some want a message before they ask for an answer
    if not text[:place].startswith(asked):
        raise ValueError(f"it asks for an answer by {_shown(asked)}, and writes one behind {_shown(text[:place])}; a "
                         "model must be asked as it has learnt")
    if START in text[len(asked):place] or END in text[len(asked):place]:
        raise ValueError(f"it writes {_shown(text[len(asked):place])} before an answer, and not where it asks for one: "
                         "let add_generation_prompt write it, as no model writes the start token")
    return len(asked)


def _shown(text: str) -> str:
    return repr(text[-40:].replace(START, "<START>").replace(END, "<END>").replace(OPEN, "{").replace(CLOSE, "}"))


def _split(text: str) -> list[Piece]:
    kinds: Mapping[str, Kind] = {START: "start", END: "end"}
    return [Piece("", kinds[part]) if part in kinds else Piece(part, "text") for part in SPLIT.split(text) if part]


def _stand_ins(roles: Sequence[str]) -> list[dict[str, str]]:
    return [{"role": role, "content": f"{OPEN}{number}{CLOSE}"} for number, role in enumerate(roles)]


def begins_again(template: str) -> bool:
    """Return whether a template writes the start token inside a conversation. Raises ValueError as `pieces` does."""
    messages = [{"role": role, "content": "a"} for role in (USER, ASSISTANT) * 2]
    return any(piece.kind == "start" for piece in pieces(template, messages, prompt=True))


def rendered(template: str, messages: Sequence[Message], *, prompt: bool = False, start: str = START,
             end: str = END) -> str:
    """Return what a template writes. Raises ValueError where it cannot be read, or refuses.

    Args:
        prompt: behind the messages stands what an answer begins with.
        start, end: what stands for the control tokens.
    """
    try:
        text: str = _compiled(template).render(messages=list(messages), bos_token=start, eos_token=end,
                                               add_generation_prompt=prompt)
    except Exception as error:  # of several classes: a template may add a number to a text, or divide by 0
        raise ValueError(f"it cannot be written: {first_line(error)}") from None
    return text


@functools.cache
def _compiled(template: str) -> Any:
    """Return a template that can reach nothing but what it is given. Raises ValueError where it is not jinja."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    try:
        return environment.from_string(template)
    except jinja2.TemplateError as error:
        raise ValueError(f"it is not jinja: {first_line(error)}") from None
