"""The journal of a stage or a run: JSON lines, one per event, in the order they happened. It is the truth; MLflow and
the report are drawn from it."""
from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

NAME = "journal.jsonl"


class Journal:
    """Appends events to a file. Each is one line and written at once, so that a kill loses at most the line being
    written.

    Args:
        path: the file.
        prefix: put before the names of metrics and parameters, where several things share a journal.
    """

    def __init__(self, path: Path, prefix: str = ""):
        self.path, self.prefix = path, prefix
        _drop_half_line(path)

    def write(self, event: str, **values: Any) -> None:
        """Write one event, with the moment it happened (seconds since 1970)."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **values}) + "\n"
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(line)

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Write settings that something was done with."""
        self.write("parameters", values={self.prefix + name: value for name, value in values.items()})

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Write measured numbers; a later event with the same name and step stands for the earlier one."""
        self.write("metrics", values={self.prefix + name: float(value) for name, value in values.items()}, step=step)

    def dataset(self, name: str, digest: str, examples: int, context: str) -> None:
        """Write which set of examples was used, and for what."""
        self.write("dataset", name=name, digest=digest, examples=examples, context=context)

    def note(self, text: str) -> None:
        """Write a line for whoever reads the log."""
        self.write("note", text=text)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a journal, as far as they are whole; none where there is no journal."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return
    for line in lines:
        yield json.loads(line)


def series(path: Path) -> dict[str, dict[int, float]]:
    """Return every metric of a journal: name to step to the last value written."""
    result: dict[str, dict[int, float]] = {}
    for event in read(path):
        if event["event"] == "metrics":
            for name, value in event["values"].items():
                result.setdefault(name, {})[event["step"]] = value
    return result


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as one mapping of dotted names to text."""
    result: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[f"{prefix}{name}"] = str(value)
    return result


def _drop_half_line(path: Path) -> None:
    if not path.exists():
        return
    with open(path, "rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
            os.fsync(file.fileno())
