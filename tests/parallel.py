"""Running the tests in several processes: what they share, who waits for whom, and in which order they start.

A plugin of pytest, see pyproject.toml.
"""
from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.engine.locks import alone

#: Seconds that each test took, as `--store-durations` wrote them.
DURATIONS = Path(__file__).resolve().parent.parent / ".test_durations"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, so that no process is left with a long one at the end, and behind them
    those that measure time, for which the other processes then wait only a little."""
    if "PYTEST_XDIST_WORKER" not in os.environ or not DURATIONS.exists():
        return
    seconds = json.loads(DURATIONS.read_text())
    whole: dict[Path, float] = defaultdict(float)
    timed = set()
    waits = set()
    for item in items:
        whole[item.path] += seconds.get(item.nodeid, 0)
        if item.get_closest_marker("timed"):
            timed.add(item.path)
        if "tiny_run" in item.fixturenames:  # type: ignore[attr-defined]
            waits.add(item.path)
    files = sorted(whole, key=lambda file: (file in timed, -whole[file]))
    # one process makes what many files need; the next has something else to do meanwhile
    second = next((file for file in files[1:] if file not in waits), None)
    if second is not None and files[0] in waits:
        files.insert(1, files.pop(files.index(second)))
    order = {file: number for number, file in enumerate(files)}
    items.sort(key=lambda item: order[item.path])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a test that measures time run while no other process runs one."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        return (yield)
    with _room(Path(tempfile.gettempdir()) / f"litepress-tests-{run}", item.get_closest_marker("timed") is not None):
        return (yield)


@contextlib.contextmanager
def _room(folder: Path, to_itself: bool) -> Iterator[None]:
    """Enter a room of many, or of one. Whoever wants it to itself keeps the door shut until the others have left."""
    folder.mkdir(exist_ok=True)
    with open(folder / "room", "w") as room:
        with alone(folder / "door"):
            fcntl.flock(room, fcntl.LOCK_EX if to_itself else fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take the room away, once all processes have ended."""
    run = getattr(session.config, "testrunuid", None) or os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is not None and "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(Path(tempfile.gettempdir()) / f"litepress-tests-{run}", ignore_errors=True)


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that all processes of the session share; the first one that asks for it makes it.

    Args:
        make: fills the empty folder that it is given.
    """
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with alone(folder.with_suffix(".lock")):
        made = folder.with_suffix(".made")
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
