"""The server inside another program: for verification, tests and notebooks."""
from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from serving.errors import StartError
from serving.flags import Options
from serving.server import Server


def free_ports(count: int) -> list[int]:
    """TCP ports of this machine that nobody listens on now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclasses.dataclass(frozen=True)
class Running:
    """A server that answers: `host:port` of either protocol."""

    server: Server
    grpc: str
    rest: str


@contextlib.contextmanager
def running(options: Options | None = None, **settings: object) -> Iterator[Running]:
    """Run a server in a thread of this process, on free ports where none are given.

    Args:
        options: its flags; those in `settings` are set in them.

    Raises:
        StartError: it cannot start.
    """
    options = dataclasses.replace(options or Options(), **settings)  # type: ignore[arg-type]
    rpc_port, rest_port = free_ports(2)
    if options.port == Options.port:
        options.port = rpc_port
    options.rest_api_port = options.rest_api_port or rest_port
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="serving", daemon=True)
    thread.start()
    server: Server | None = None
    try:
        async def start() -> Server:
            made = Server(options)
            await made.start()
            return made

        server = asyncio.run_coroutine_threadsafe(start(), loop).result()
        yield Running(server, f"127.0.0.1:{options.port}", f"127.0.0.1:{options.rest_api_port}")
    finally:
        if server is not None:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def serving(base: Path, name: str, deadline: float = 30.0) -> contextlib.AbstractContextManager[Running]:
    """Serve a folder of numbered versions, its batches not gathered, its files not watched.

    Args:
        deadline: seconds that a call over REST may take.
    """
    if not base.is_dir():
        raise StartError(f"{base}: there is no such folder")
    return running(model_name=name, model_base_path=str(base), file_system_poll_wait_seconds=0,
                   rest_api_timeout_in_ms=int(1000 * deadline))
