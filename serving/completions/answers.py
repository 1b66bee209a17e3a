"""How completions are answered: the objects of OpenAI's API, and the way they are sent, whole or as events."""
from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from serving.completions.requests import Asked, ChatRequest, RequestError
from serving.http_body import Send

DONE = b"data: [DONE]\n\n"


class Shape:
    """What an answer to a request looks like.

    Args:
        version: of the model, which the answer names.
    """

    def __init__(self, asked: Asked, version: int):
        self.is_chat = isinstance(asked, ChatRequest)
        self.counts = bool(asked.stream_options and asked.stream_options.include_usage)
        self._model, self._version, self._created = asked.model, version, int(time.time())
        self._id = f"{'chatcmpl' if self.is_chat else 'cmpl'}-{uuid.uuid4().hex}"

    def whole(self, texts: Sequence[str], reasons: Sequence[str | None], usage: Mapping[str, int]) -> dict[str, Any]:
        """Return the answer with all texts and why each ended."""
        return self._answer([self._choice(row, text, reason, "message")
                             for row, (text, reason) in enumerate(zip(texts, reasons, strict=True))]) | {"usage": usage}

    def part(self, row: int, text: str, reason: str | None, *, first: bool = False) -> dict[str, Any]:
        """Return the event of a part of a text.

        Args:
            first: of its text; in a chat it says whose turn it is.
        """
        choice = self._choice(row, text, reason, "delta")
        if self.is_chat:
            choice["delta"] = {**({"role": "assistant"} if first else {}), **({} if reason else {"content": text})}
        return self._answer([choice], streamed=True) | ({"usage": None} if self.counts else {})

    def counted(self, usage: Mapping[str, int]) -> dict[str, Any]:
        """Return the event that counts tokens, of no text."""
        return self._answer([], streamed=True) | {"usage": usage}

    def _choice(self, row: int, text: str, reason: str | None, name: str) -> dict[str, Any]:
        own = {name: {"role": "assistant", "content": text}} if self.is_chat else {"text": text}
        return {"index": row, **own, "logprobs": None, "finish_reason": reason}

    def _answer(self, choices: list[dict[str, Any]], *, streamed: bool = False) -> dict[str, Any]:
        kind = f"chat.completion{'.chunk' if streamed else ''}" if self.is_chat else "text_completion"
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model,
                "system_fingerprint": f"version_{self._version}", "choices": choices}


class Sender:
    """Sends an answer, once.

    Args:
        send: of ASGI.
        headers: that every answer has.
    """

    def __init__(self, send: Send, headers: Sequence[tuple[bytes, bytes]]):
        self._send, self._headers, self._streams = send, list(headers), False

    async def whole(self, content: Any) -> None:
        """Send an answer in one piece."""
        await self._bytes(200, orjson.dumps(content))

    async def fail(self, error: RequestError) -> None:
        """Send why there is no answer; in a stream, the last event says it."""
        if not self._streams:
            await self._bytes(error.status, error.body)
            return
        await self._part(b"data: " + error.body + b"\n\n")
        await self._part(b"", more=False)

    async def begin_stream(self) -> None:
        """Send the head of a stream of events."""
        self._streams = True
        await self._head(200, [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")])

    async def event(self, content: Any) -> None:
        """Send an event."""
        await self._part(b"data: " + orjson.dumps(content) + b"\n\n")

    async def end_stream(self) -> None:
        """Send the end of a stream."""
        await self._part(DONE, more=False)

    async def _bytes(self, status: int, body: bytes) -> None:
        await self._head(status, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))])
        await self._part(body, more=False)

    async def _head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *self._headers]})

    async def _part(self, body: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
