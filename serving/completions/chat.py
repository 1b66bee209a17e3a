"""Conversations as the text that a model goes on with, by a template as Hugging Face's tokenizers have it."""
from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jinja2
import jinja2.sandbox

from serving.completions.requests import Message, RequestError

#: Where a SavedModel has its own template.
PLACE = Path("assets.extra") / "chat_template.jinja"
#: What is taken where it has none: each message behind the name of its side, a line each.
PLAIN = """\
{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}
{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"""
#: What ends an answer then: the other side's turn.
PLAIN_STOPS = ("\nUser:", "\nSystem:", "\nAssistant:")
#: Who answers.
ASSISTANT = "assistant"
#: OpenAI's newer name of those who instruct, which templates do not have.
RENAMED = {"developer": "system"}
#: What stands behind a piece, as the signature `prefill_pieces` counts.
NOTHING, START, END = 0, 1, 2


class Piece(NamedTuple):
    """A piece of a conversation, all text up to a control token; and that."""

    text: str
    behind: int


def pieces(messages: Sequence[Message], folder: Path) -> tuple[list[Piece], Sequence[str]]:
    """Return a conversation in pieces, up to where the model answers, and what ends its answer.

    A template writes marks that nobody can guess, in place of what people say and of the control tokens: whatever
    stands in a message is text. An answer is a piece by itself, as in training: it was cut where it is asked for.

    Args:
        folder: of the version that answers.

    Raises:
        RequestError: the template refuses the messages, or is broken.
    """
    path = folder / PLACE
    own, mark = path.is_file(), secrets.token_hex(8)
    known = [{"role": RENAMED.get(one.role, one.role), "content": f"{mark}m{number};",
              **({"name": one.name} if one.name else {})} for number, one in enumerate(messages)]
    try:
        template = _template(path.read_text("utf-8") if own else PLAIN)
        text = _written(template, known, mark)
        if own:
            text = _with_answers_apart(template, text, known, mark)
    except jinja2.TemplateSyntaxError as error:
        raise RequestError(f"the model's chat template is broken: line {error.lineno}: {error.message}", 500) from error
    except Exception as error:  # of several classes: a template may add a number to a text, or divide by 0
        raise RequestError(f"the model's chat template does not take these messages: {error}",
                           param="messages") from error
    result: list[Piece] = []
    written = ""
    for number, part in enumerate(re.split(f"{mark}(a|m?[0-9]+);", text)):
        if number % 2 == 0:
            written += part
        elif part == "a":
            result += [Piece(written, NOTHING)] if written else []
            written = ""
        elif part.startswith("m"):
            written += messages[int(part[1:])].text
        else:
            if result or written or int(part) != START:  # one stands before every text already
                result.append(Piece(written, int(part)))
            written = ""
    result += [Piece(written, NOTHING)] if written or not result else []
    return result, () if own else PLAIN_STOPS


def _written(template: Any, known: Sequence[Mapping[str, str]], mark: str) -> str:
    """Return what a template writes, up to where the model answers, with marks."""
    text: str = template.render(messages=known, add_generation_prompt=True, bos_token=f"{mark}{START};",
                                eos_token=f"{mark}{END};")
    return text


def _with_answers_apart(template: Any, text: str, known: Sequence[Mapping[str, str]], mark: str) -> str:
    """Return a text with a mark before each answer, behind what asks for it, and behind it where no end token is.

    What a template writes between asking and an answer is that of the first one: it is rendered once, however many
    messages there are.
    """
    first = next((number for number, one in enumerate(known) if one["role"] == ASSISTANT), None)
    if first is None:
        return text
    before = text.partition(known[first]["content"])[0]
    try:
        asked = _written(template, known[:first], mark)
    except jinja2.TemplateError:  # some want a message before they ask for an answer
        asked = before
    lead, apart = re.escape(before[len(asked):] if before.startswith(asked) else ""), f"{mark}a;"

    def cut(match: re.Match[str]) -> str:
        if known[int(match["number"])]["role"] != ASSISTANT:
            return match[0]
        return f"{apart}{match[0]}{apart if match['end'] is None else ''}"

    return re.sub(f"(?:{lead})?{mark}m(?P<number>[0-9]+);(?=(?P<end>(?:(?!{mark}).)*{mark}{END};)?)", cut, text,
                  flags=re.DOTALL)


@functools.lru_cache(16)
def _template(text: str) -> Any:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _refuse
    return environment.from_string(text)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
