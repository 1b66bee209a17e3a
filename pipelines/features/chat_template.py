"""How a conversation is written as one text: templates of the kind that model makers publish, and the pieces that
become tokens. What people say is never read as a template's own words: it is put in when the rest is written."""
from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from etils import epy

from export.errors import first_line
from pipelines.errors import UserError
from pipelines.features.tokenizers.tokenizer import ENDS

with epy.lazy_imports():
    import jinja2

#: Who speaks: `assistant` is who learns to.
SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ROLES = (SYSTEM, USER, ASSISTANT)
Message = Mapping[str, str]
#: What a piece of a conversation is: written by the template or by people, what the model is to answer, or the tokens
#: that stand before and behind.
Kind = Literal["text", "answer", "start", "end", "answer_end"]
#: Around the number of a message, in whose place it is put: characters that no text should have.
OPEN, CLOSE = "\ue000", "\ue001"
MARKS = re.compile(f"({OPEN}\\d+{CLOSE}|{'|'.join(map(re.escape, ENDS))})")

#: As their makers have them. Where those have tokens of their own, such as <s>, <|im_start|> or <|eot_id|>, here stand
#: the two that every vocabulary has; all else is text.
TEMPLATES = {
    "plain": "{% for message in messages %}{{ message['content'] }}"
             "{{ eos_token if message['role'] == 'assistant' else '\\n' }}{% endfor %}",
    "chatml": "{% for message in messages %}{{ bos_token + message['role'] + '\\n' + message['content'] + eos_token + "
              "'\\n' }}{% endfor %}{% if add_generation_prompt %}{{ bos_token + 'assistant\\n' }}{% endif %}",
    "llama2": "{% set system = '' %}{% if messages[0]['role'] == 'system' %}"
              "{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}"
              "{% set messages = messages[1:] %}{% endif %}{% for message in messages %}"
              "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + (system if loop.first else '') + "
              "message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}"
              "{% endfor %}",
    "llama3": "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + "
              "message['content'] + eos_token }}{% endfor %}{% if add_generation_prompt %}"
              "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
    "alpaca": "{% for message in messages %}{% if message['role'] == 'user' %}{{ '### Instruction:\\n' + "
              "message['content'] + '\\n\\n### Response:\\n' }}{% elif message['role'] == 'system' %}"
              "{{ message['content'] + '\\n\\n' }}{% else %}{{ message['content'] + eos_token + '\\n\\n' }}{% endif %}"
              "{% endfor %}"}


class Piece(NamedTuple):
    """A piece of a conversation that has been written."""

    text: str
    kind: Kind


def source(template: str) -> str:
    """Return a template by its name, or out of a file. Raises UserError where there is none."""
    if template in TEMPLATES:
        return TEMPLATES[template]
    try:
        return Path(template).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise UserError(f"data.tokens.template: {template} is no template; give one of {', '.join(TEMPLATES)}, or a "
                        "file of jinja") from None


def messages_of(value: bytes) -> list[dict[str, str]]:
    """Return the messages that a text of JSON holds. Raises ValueError that says what is wrong with them."""
    try:
        messages = json.loads(value)
    except ValueError:
        raise ValueError("has no messages: it is not JSON") from None
    if not isinstance(messages, list) or not messages:
        raise ValueError('has no messages; they are a list like [{"role": "user", "content": "Why?"}, …]')
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise ValueError(f"has a message {number} without content, a text")
        if message.get("role") not in ROLES:
            raise ValueError(f"has a message {number} of {message.get('role')!r}; roles are {', '.join(ROLES)}")
        if message["role"] == SYSTEM and number > 1:
            raise ValueError(f"has a message {number} of system, which can be the first alone")
        if OPEN in message["content"] or CLOSE in message["content"]:
            raise ValueError(f"has the private character U+{ord(OPEN):X} or U+{ord(CLOSE):X} in message {number}")
    return messages


def pieces(template: str, messages: Sequence[Message], *, prompt: bool = False) -> list[Piece]:
    """Return the pieces of a conversation, in their order.

    What a message says is a piece of its own, whatever is written in it. A special token directly behind an answer is
    part of the answer.

    Args:
        template: of jinja, see `source`.
        prompt: behind them stands what an answer begins with.

    Raises:
        UserError: the template cannot be read, or leaves a message out.
    """
    stand_ins = [{"role": message["role"], "content": f"{OPEN}{number}{CLOSE}"}
                 for number, message in enumerate(messages)]
    try:
        text = _compiled(template).render(messages=stand_ins, bos_token=ENDS[0], eos_token=ENDS[1],
                                          add_generation_prompt=prompt)
    except jinja2.TemplateError as error:
        raise UserError(f"data.tokens.template: it cannot be written: {first_line(error)}") from None
    result: list[Piece] = []
    seen: list[int] = []
    for part in MARKS.split(text):
        answered = bool(result) and result[-1].kind == "answer"
        if part in ENDS:
            result.append(Piece("", "start" if part == ENDS[0] else "answer_end" if answered else "end"))
        elif part.startswith(OPEN):
            seen.append(int(part[1:-1]))
            message = messages[seen[-1]]
            result.append(Piece(message["content"], "answer" if message["role"] == ASSISTANT else "text"))
        elif part.strip() or (part and not answered):
            result.append(Piece(part, "text"))
    if seen != list(range(len(messages))):
        raise UserError(f"data.tokens.template: it writes the messages {[number + 1 for number in seen]} of "
                        f"{len(messages)}; it must write each once, in their order")
    return result[1:] if result and result[0].kind == "start" else result


def begins_again(template: str) -> bool:
    """Return whether a template, by its name or out of a file, writes the start token inside a conversation. Raises
    UserError as `source` and `pieces` do."""
    messages = [{"role": role, "content": "a"} for role in (USER, ASSISTANT) * 2]
    return any(piece.kind == "start" for piece in pieces(source(template), messages, prompt=True))


@functools.cache
def _compiled(template: str) -> Any:
    """Return a template that can reach nothing but what it is given. Raises UserError where it is not jinja."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    try:
        return environment.from_string(template)
    except jinja2.TemplateError as error:
        raise UserError(f"data.tokens.template: it is not jinja: {first_line(error)}") from None
