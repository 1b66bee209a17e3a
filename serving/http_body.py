"""The body of a request over HTTP, as an ASGI server hands it on."""
from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from serving.errors import invalid
from serving.flags import Options

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class TooLarge(Exception):
    """A body of more bytes than are taken."""


async def read(headers: Mapping[bytes, bytes], receive: Receive, options: Options) -> bytes:
    """Return the body of a request, unpacked.

    Raises:
        TooLarge: it has more bytes than are taken, packed or unpacked.
        TimeoutError: a part of it did not come in time.
        ConnectionError: the client went away.
        ServingError: it is said to be packed by gzip, and is not.
    """
    most = options.max_request_bytes
    if headers.get(b"content-length", b"0").isdigit() and int(headers.get(b"content-length", b"0")) > most:
        raise TooLarge
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        async with asyncio.timeout(options.header_timeout_seconds):
            message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise TooLarge
        more = message.get("more_body", False)
    body = b"".join(parts)
    return _unpacked(body, most) if b"gzip" in headers.get(b"content-encoding", b"") else body


def _unpacked(body: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        result = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise invalid(f"the body is not gzip data: {error}") from error
    if len(result) > most:
        raise TooLarge
    if not unpacker.eof:
        raise invalid("the body's gzip data ends too early")
    return result
