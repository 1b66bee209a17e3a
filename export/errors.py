"""One line for an error, or for a program that failed."""
from __future__ import annotations

import re

#: How Keras begins the messages of others.
KERAS = "Exception encountered when calling"
#: What TensorFlow puts around what it has to say: colours, and which function and operator said it.
AROUND = re.compile(r"\x1b\[[0-9;]*m|\{\{[^{}]*\}\}\s*|\s*\[Op:\w+\](?: name:\s*)?")


def first_line(error: BaseException | str) -> str:
    """Return the first line of an error's message that says something; the name of its type where there is none."""
    lines = [line for line in _lines(str(error)) if not line.startswith(KERAS)]
    if lines:
        return lines[0]
    return type(error).__name__ if isinstance(error, BaseException) else ""


def last_line(output: str, limit: int = 200) -> str:
    """Return the last line that a program printed, cut to `limit` characters: most give the reason there."""
    lines = _lines(output)
    return lines[-1][:limit] if lines else "it gives no reason"


def _lines(text: str) -> list[str]:
    lines = (AROUND.sub("", line).strip() for line in text.splitlines())
    return [line for line in lines if line]
