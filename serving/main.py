"""`tensorflow_model_server`: the embedded server under the original's name, with its flags and exit codes."""
from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
from collections.abc import Callable
from importlib import metadata

from serving.errors import StartError
from serving.flags import check, parse, usage


def main(arguments: list[str] | None = None, program: str = "tensorflow_model_server", failed: int = 255,
         importing: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext) -> None:
    """The console script.

    Args:
        arguments: the flags; the process's where not given.
        program: what to call it in what it prints.
        failed: the exit code where it cannot start; the original's is -1.
        importing: what is around the import of TensorFlow, which prints a page of its own.
    """
    value = sys.argv[1:] if arguments is None else arguments
    if "--help" in value:
        print(usage(program))
        return
    try:
        options = parse(value)
        if not options.version:
            check(options)
    except StartError as error:
        print(error, file=sys.stderr)
        if str(error).startswith("unknown argument") and program == "tensorflow_model_server":
            print(usage(program), file=sys.stderr)
        sys.exit(failed)
    if options.version:
        print(f"TensorFlow ModelServer: {metadata.version('tensorflow-serving-api')} (litepress "
              f"{metadata.version('litepress')})\n"
              f"TensorFlow Library: {metadata.version('tensorflow')}")
        return
    for name in ("TF_CPP_MIN_LOG_LEVEL", "ABSL_MIN_LOG_LEVEL"):
        os.environ.setdefault(name, "2")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname).1s %(message)s", stream=sys.stderr)
    for name in ("tensorflow", "absl", "uvicorn"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with importing():
        from serving.server import serve

    gc.freeze()  # else the collector, which JSON's lists set off often, walks TensorFlow's 400,000 objects too
    try:
        _runner()(serve(options, lambda line: print(line, flush=True)))
    except StartError as error:
        print(error, file=sys.stderr)
        sys.exit(failed)


def _runner() -> Callable[..., None]:
    """uvloop's event loop where there is one: not on Windows."""
    try:
        import uvloop

        return uvloop.run
    except ImportError:
        import asyncio

        return asyncio.run


if __name__ == "__main__":
    main()
