"""Conversations as recipes and sources have them: the template that is chosen, and messages as JSON."""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from export.chat import pieces as written
from export.chat.pieces import MARKS, Message, Piece
from export.chat.templates import KNOWN, ROLES, SYSTEM
from pipelines.errors import UserError


def source(template: str) -> str:
    """Return a template by its name, or out of a file. Raises UserError where there is none."""
    if template in KNOWN:
        return KNOWN[template].jinja
    try:
        return Path(template).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise UserError(f"data.tokens.template: {template} is no template; give one of {', '.join(KNOWN)}, or a "
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
        try:
            message["content"].encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"has a message {number} that is not UTF-8 (character {error.start})") from None
        if private := next((mark for mark in MARKS if mark in message["content"]), None):
            raise ValueError(f"has the private character U+{ord(private):X} in message {number}")
    return messages


def pieces(template: str, messages: Sequence[Message], *, prompt: bool = False) -> list[Piece]:
    """Return the pieces of a conversation, see `export.chat.pieces`. Raises UserError where the template cannot be."""
    try:
        return written.pieces(template, messages, prompt=prompt)
    except ValueError as error:
        raise UserError(f"data.tokens.template: {error}") from None


def begins_again(template: str) -> bool:
    """Return whether a template, by its name or out of a file, writes the start token inside a conversation. Raises
    UserError as `source` and `pieces` do."""
    try:
        return written.begins_again(source(template))
    except ValueError as error:
        raise UserError(f"data.tokens.template: {error}") from None
