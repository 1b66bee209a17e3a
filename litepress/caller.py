"""The process that calls: how a run shows itself in it, and how it is left as it was."""
from __future__ import annotations

import contextlib
import importlib.machinery
import io
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from pipelines.engine import workers
from pipelines.engine.display import Display
from pipelines.errors import GateError, StageError, UserError
from pipelines.reporting.results import Results
from pipelines.runner import Runner
from pipelines.tools import run

_lock = threading.Lock()
_depth = 0
_before = contextlib.ExitStack()


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Leave the process as it was: its environment, of which workers want another, and its script.

    multiprocessing runs the main script again in each new process, to know what it defines. Workers need nothing of it,
    and a script without `if __name__ == "__main__":` would start itself over and over. Calls may overlap, in threads:
    the last one puts back what the first one changed.
    """
    global _depth
    with _lock:
        if not _depth:
            _before.enter_context(_environment())
            _before.enter_context(_main_that_is_not_run_again())
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if not _depth:
                _before.close()


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in workers.ENVIRONMENT}
    os.environ.pop("MPLBACKEND", None)  # a notebook's own, which draws into its cells
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _main_that_is_not_run_again() -> Iterator[None]:
    main = sys.modules["__main__"]
    before = getattr(main, "__spec__", None)
    main.__spec__ = importlib.machinery.ModuleSpec("__main__", None)
    try:
        yield
    finally:
        main.__spec__ = before


def display(quiet: bool) -> Display:
    """Return what shows progress: live on a terminal, as lines elsewhere; in a notebook as the text of the cell, whose
    kernel is not a terminal, though it asks for colours (FORCE_COLOR)."""
    if quiet:
        return Display(Console(file=io.StringIO(), force_jupyter=False, force_terminal=False))
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    return Display(Console(force_jupyter=False, force_terminal=None if on_terminal else False))


def command(function: str, first: str | None, arguments: Mapping[str, Any]) -> list[str]:
    """Return the call as it is written, for the record of a run."""
    written = "".join(f", {name}={value!r}" for name, value in arguments.items())
    return [f"litepress.{function}({first!r}{written})"]


def finish(runner: Runner, check: bool) -> Results:
    """Run a recipe to its end and return what it measured.

    Args:
        check: raise also where there are results: a gate was missed, or something could not be made.

    Raises:
        UserError, GateError, StageError: see `pipelines.tools.run.finish`.
    """
    try:
        return run.finish(runner)
    except (UserError, GateError, StageError):
        if check or runner.results is None:
            raise
        return runner.results
