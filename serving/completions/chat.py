"""Conversations as the text that a model goes on with, by a template as Hugging Face's tokenizers have it."""
from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Sequence
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
#: What stands behind a piece, as the signature `prefill_pieces` counts.
NOTHING, START, END = 0, 1, 2


class Piece(NamedTuple):
    """A piece of a conversation, all text up to a control token; and that."""

    text: str
    behind: int


def pieces(messages: Sequence[Message], folder: Path) -> tuple[list[Piece], Sequence[str]]:
    """Return a conversation in pieces, up to where the model answers, and what ends its answer.

    A template writes marks that nobody can guess, in place of what people say and of the control tokens: whatever
    stands in a message is text.

    Args:
        folder: of the version that answers.

    Raises:
        RequestError: the template refuses the messages, or is broken.
    """
    path = folder / PLACE
    own, mark = path.is_file(), secrets.token_hex(8)
    known = [{"role": one.role, "content": f"{mark}m{number};", **({"name": one.name} if one.name else {})}
             for number, one in enumerate(messages)]
    try:
        template = _template(path.read_text("utf-8") if own else PLAIN)
        text = template.render(messages=known, add_generation_prompt=True, bos_token=f"{mark}{START};",
                               eos_token=f"{mark}{END};")
    except jinja2.TemplateSyntaxError as error:
        raise RequestError(f"the model's chat template is broken: line {error.lineno}: {error.message}", 500) from error
    except (jinja2.TemplateError, UnicodeDecodeError) as error:
        raise RequestError(f"the model's chat template does not take these messages: {error}",
                           param="messages") from error
    result: list[Piece] = []
    written = ""
    for number, part in enumerate(re.split(f"{mark}(m?[0-9]+);", text)):
        if number % 2 == 0:
            written += part
        elif part.startswith("m"):
            written += messages[int(part[1:])].text
        else:
            if result or written or int(part) != START:  # one stands before every text already
                result.append(Piece(written, int(part)))
            written = ""
    result += [Piece(written, NOTHING)] if written or not result else []
    return result, () if own else PLAIN_STOPS


@functools.lru_cache(16)
def _template(text: str) -> Any:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _refuse
    return environment.from_string(text)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
