"""The server: a core, gRPC and REST on one event loop, from the first load to the last request."""
from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving import config as configs
from serving import messages, rpc
from serving.core import Core
from serving.errors import ServingError, StartError
from serving.flags import Options, check, without_effect
from serving.metrics import PATH
from serving.rest import Rest
from serving.security import Certificates, Guard

log = logging.getLogger("litepress.serving")
#: What comes while the server drains is told so; then, after so many seconds, nobody is there any more.
LAST_ANSWERS = 0.5
LOCAL = ("127.0.0.1", "::1", "localhost")


class Server:
    """An embedded TF Serving.

    Args:
        options: its flags.

    Raises:
        StartError: something they name is missing or broken.
    """

    def __init__(self, options: Options):
        check(options)
        self.options = options
        self.config = configs.of_options(options)
        self.guard = Guard(options)
        self.certificates = Certificates(Path(options.ssl_config_file)) if options.ssl_config_file else None
        monitoring = messages.read(Path(options.monitoring_config_file), messages.MonitoringConfig).prometheus_config \
            if options.monitoring_config_file else None
        self._monitoring = (monitoring.path or PATH) if monitoring is not None and monitoring.enable else ""
        self.core = Core(options)
        self._tasks: list[asyncio.Task] = []
        self._grpc: grpc.aio.Server | None = None
        self._rest: uvicorn.Server | None = None
        self._health: Any = None

    async def start(self) -> None:
        """Load the models, then listens. Raises StartError."""
        sockets = [_bound(self.options.bind_address, self.options.rest_api_port)] if self.options.rest_api_port else []
        if self.options.port:
            _bound(self.options.bind_address, self.options.port).close()
        try:
            await self.core.configure(self.config)
        except ServingError as error:
            raise StartError(f"Failed to start server. Error: {error.code.name}: {error.message}") from error
        self._tasks.append(asyncio.create_task(self.core.manager.watch()))
        if self.options.model_config_file and self.options.model_config_file_poll_wait_seconds > 0:
            self._tasks.append(asyncio.create_task(self._watch_config()))
        if self.options.port or self.options.grpc_socket_path:
            await self._listen_grpc()
        if sockets:
            await self._listen_rest(sockets)

    async def _listen_grpc(self) -> None:
        most = self.options.max_request_bytes
        arguments: list[tuple[str, Any]] = [("grpc.max_receive_message_length", most),
                                            ("grpc.max_send_message_length", -1),
                                            ("grpc.so_reuseport", 0),
                                            *_channel_arguments(self.options.grpc_channel_arguments)]
        self._grpc = grpc.aio.server(options=arguments,
                                     maximum_concurrent_rpcs=4 * self.options.max_concurrent_requests)
        self._health = rpc.add_services(self._grpc, self.core, self.guard)
        for address in filter(None, (
                f"{_bracketed(self.options.bind_address)}:{self.options.port}" if self.options.port else "",
                f"unix:{self.options.grpc_socket_path}" if self.options.grpc_socket_path else "")):
            try:
                if self.certificates:
                    self._grpc.add_secure_port(address, self.certificates.grpc())
                else:
                    self._grpc.add_insecure_port(address)
            except RuntimeError as error:
                raise StartError(f"cannot listen on {address}: {str(error).splitlines()[0]}") from error
            log.info("Running gRPC ModelServer at %s ...", address)
        await self._grpc.start()
        await rpc.set_serving(self._health, True)

    async def _listen_rest(self, sockets: list[socket.socket]) -> None:
        app = Rest(self.core, self.guard, self._monitoring)
        config = uvicorn.Config(
            app, http=_timed_protocol(self.options.header_timeout_seconds), ws="none", lifespan="off", loop="none",
            log_config=None,
            access_log=False, server_header=False, timeout_graceful_shutdown=max(1, int(self.options.drain_seconds)),
            backlog=1024)
        config.load()
        if self.certificates:
            config.ssl = self.certificates.context()
        self._rest = _Uvicorn(config)
        self._tasks.append(asyncio.create_task(self._rest.serve(sockets)))
        while not self._rest.started:
            await asyncio.sleep(0.01)
        log.info("Exporting HTTP/REST API at %s:%d ...", self.options.bind_address, self.options.rest_api_port)

    async def _watch_config(self) -> None:
        path, before = Path(self.options.model_config_file), ""
        while True:
            await asyncio.sleep(self.options.model_config_file_poll_wait_seconds)
            try:
                text = path.read_text()
                if text != before and before:
                    await self.core.configure(configs.of_options(self.options))
                before = text
            except (OSError, UnicodeDecodeError, StartError, ServingError) as error:
                log.error("the configuration stays as it was: %s", error)

    async def stop(self) -> None:
        """Drains: not ready, nothing new, requests in flight end within the grace period."""
        self.core.draining = True
        if self._health is not None:
            await rpc.set_serving(self._health, False)
        if self._rest is not None:
            self._rest.should_exit = True
        if not await self.core.finished(self.options.drain_seconds):
            log.warning("%d requests did not end in time", self.core.under_way)
        if self._grpc is not None:
            await asyncio.sleep(LAST_ANSWERS)
            await self._grpc.stop(LAST_ANSWERS)
        watching = [task for task in self._tasks if self._rest is None or task is not self._tasks[-1]]
        for task in watching:
            task.cancel()
        if self._rest is not None:
            await self._tasks[-1]
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.core.close(), self.options.drain_seconds)


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):
        yield  # the server's own loop hears them


def _timed_protocol(seconds: float) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, closing connections whose headers do not come in time."""
    class Timed(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._timer = self.loop.call_later(seconds, transport.close)

        def data_received(self, data: bytes) -> None:
            if self._timer is None and (self.cycle is None or self.cycle.response_complete):
                self._timer = self.loop.call_later(seconds, self.transport.close)
            super().data_received(data)

        def on_headers_complete(self) -> None:
            self._stop_timer()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Timed


def _bound(address: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address. Raises StartError that says why it cannot be."""
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        # asyncio sets TCP_NODELAY where it sees that protocol
        result = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        result.bind((address, port))
    except (OSError, OverflowError) as error:
        raise StartError(f"cannot listen on {address}:{port}: {getattr(error, 'strerror', None) or error}") from error
    return result


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _channel_arguments(text: str) -> list[tuple[str, Any]]:
    result: list[tuple[str, Any]] = []
    for one in filter(None, text.split(",")):
        name, received, value = one.partition("=")
        if not received:
            raise StartError(f"--grpc_channel_arguments={text}: {one} is not NAME=VALUE")
        result.append((name, int(value) if value.lstrip("-").isdigit() else value))
    return result


async def serve(options: Options, say: Callable[[str], None] = print) -> None:
    """Run a server until SIGTERM or SIGINT, then drains it. Raises StartError."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    for line in without_effect(options):
        say(line)
    server = Server(options)
    starting = asyncio.create_task(server.start())
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return
    await starting
    say(_where(options))
    await waiting
    say("stopping: finishing requests in flight")
    await server.stop()


def _where(options: Options) -> str:
    places = [f"gRPC on {options.bind_address}:{options.port}"] if options.port else []
    places += [f"gRPC on {options.grpc_socket_path}"] if options.grpc_socket_path else []
    places += [f"REST on {options.bind_address}:{options.rest_api_port}"] if options.rest_api_port else []
    open_ = "" if options.bind_address in LOCAL else "; every machine that reaches this one can ask it"
    return f"serving: {', '.join(places)}{open_}"
