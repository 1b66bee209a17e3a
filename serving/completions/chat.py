"""Conversations as the text that a model goes on with, by a template as Hugging Face's tokenizers have it."""
from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

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


def prompt(messages: Sequence[Message], folder: Path) -> tuple[str, Sequence[str]]:
    """Return the text of a conversation, up to where the model answers, and what ends its answer.

    Args:
        folder: of the version that answers.

    Raises:
        RequestError: the template refuses the messages, or is broken.
    """
    path = folder / PLACE
    own = path.is_file()
    try:
        template = _template(path.read_text() if own else PLAIN)
        known = [{"role": one.role, "content": one.text, **({"name": one.name} if one.name else {})}
                 for one in messages]
        text = template.render(messages=known, add_generation_prompt=True, bos_token="", eos_token="")
    except jinja2.TemplateSyntaxError as error:
        raise RequestError(f"the model's chat template is broken: line {error.lineno}: {error.message}", 500) from error
    except (jinja2.TemplateError, UnicodeDecodeError) as error:
        raise RequestError(f"the model's chat template does not take these messages: {error}",
                           param="messages") from error
    return text, () if own else PLAIN_STOPS


@functools.lru_cache(16)
def _template(text: str) -> Any:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _refuse
    return environment.from_string(text)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
