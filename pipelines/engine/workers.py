"""Worker processes, forked from a server that has imported TensorFlow and done nothing else.

A stage, and each conversion inside one, runs in such a process. A crash is then an error with a name, memory is
freed when the work is done, and TensorFlow is imported once.
"""
from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipelines.errors import StageError, UserError

ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "tensorflow", "PYTHONHASHSEED": "0", "MPLBACKEND": "Agg",
               "TF_ENABLE_ONEDNN_OPTS": "1", "ABSL_MIN_LOG_LEVEL": "2"}
#: What most workers need: imported once, by their server.
PRELOAD = ["tensorflow", "keras", "tensorflow_datasets", "sklearn.metrics", "pipelines.cli",
           "pipelines.stages.run_stage"]

#: Called with what a worker reports of its progress.
Listener = Callable[[dict[str, Any]], None]

_to_parent: multiprocessing.connection.Connection | None = None


def warm_up() -> None:
    """Start the server, which imports TensorFlow while the caller does something else."""
    from multiprocessing import forkserver

    server()
    with quiet():
        forkserver.ensure_running()


def call(function: Callable[..., Any], *arguments: Any, log: Path | None = None,
         listen: Listener = lambda message: None,
         what: str = "") -> Any:
    """Run a function in a worker; return what it returns.

    Args:
        function: a function of a module; it and its arguments are pickled.
        log: file that all output of the worker is appended to.
        listen: called with what the worker sends with `report`.
        what: what is being done, for the error when the worker dies.

    Raises:
        UserError: as the function raised it.
        StageError: the function raised anything else, or its process was killed.
    """
    warm_up()
    ours, theirs = multiprocessing.Pipe()
    process = server().Process(target=_work, args=(theirs, function, arguments, log), daemon=False)
    process.start()
    theirs.close()
    try:
        return _attend(ours, process, listen, log, what or function.__name__)
    finally:
        if process.is_alive():
            process.kill()
        process.join()
        ours.close()


def isolated(function: Callable[..., Any], *arguments: Any, what: str) -> Any:
    """Run a function in another worker, from inside one; return what it returns. Raises as `call` does."""
    if _to_parent is None:
        return call(function, *arguments, what=what)
    _to_parent.send(("call", (function, arguments, what)))
    kind, value = _to_parent.recv()
    if kind == "raised":
        raise value
    return value


def report(**values: Any) -> None:
    """Send the progress to the listener, from inside a worker; do nothing outside of one."""
    if _to_parent is not None:
        _to_parent.send(("message", values))


def server() -> multiprocessing.context.ForkServerContext:
    """Return the multiprocessing context whose processes are forked from the server."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what native code prints to standard error off the terminal. A process that starts meanwhile inherits
    this."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@functools.cache
def quiet_at_exit() -> None:
    """Keep what native code prints to standard error when the process ends off the terminal: LiteRT then says which
    accelerators it leaves."""
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))


def _attend(connection: multiprocessing.connection.Connection, process: Any, listen: Listener, log: Path | None,
            what: str) -> Any:
    while True:
        try:
            kind, value = connection.recv()
        except (EOFError, ConnectionResetError):
            process.join()
            raise StageError(f"{what}: {_how_it_died(process.exitcode)}{_see(log)}") from None
        if kind == "message":
            listen(value)
        elif kind == "call":
            function, arguments, nested_what = value
            try:
                answer = ("returned", call(function, *arguments, log=log, listen=listen, what=nested_what))
            except (UserError, StageError) as error:
                answer = ("raised", error)
            connection.send(answer)
        elif kind == "returned":
            return value
        else:
            raise value if isinstance(value, (UserError, StageError)) else StageError(f"{what}: {value}{_see(log)}")


def _how_it_died(code: int | None) -> str:
    if code is not None and code < 0:
        names = {signal.SIGSEGV: "crashed (segmentation fault)", signal.SIGKILL: "was killed (out of memory?)",
                 signal.SIGABRT: "crashed (abort)", signal.SIGFPE: "crashed (arithmetic fault)"}
        number = signal.Signals(-code)
        return names.get(number, f"was killed by {number.name}")
    return f"ended with code {code} before it finished"


def _see(log: Path | None) -> str:
    return f". See {log}" if log else ""


def _work(connection: multiprocessing.connection.Connection, function: Callable[..., Any], arguments: tuple,
          log: Path | None) -> None:
    global _to_parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _to_parent = connection
    try:
        if log:
            _print_to(log)
        answer = ("returned", function(*arguments))
        pickle.dumps(answer)
    except (UserError, StageError) as error:
        answer = ("raised", error)
    except BaseException as error:
        traceback.print_exc()
        answer = ("raised", _full_disk(error, log) or _last_line(error))
    sys.stdout.flush()
    sys.stderr.flush()
    connection.send(answer)
    os._exit(0)


def _end_with_parent() -> None:
    """End this worker, whatever it is doing, as soon as its parent has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _print_to(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)


def _full_disk(error: BaseException, log: Path | None) -> UserError | None:
    full = (isinstance(error, OSError)
            and error.errno in (errno.ENOSPC, errno.EDQUOT)) or "No space left on device" in str(error)
    if not full:
        return None
    place = log.parent if log else Path.cwd()
    return UserError(f"{place}: the disk is full. Free some space (litepress gc shows what no run needs) and run "
                     "again: it goes on "
                     "where it stopped")


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else '(no message)'}"
