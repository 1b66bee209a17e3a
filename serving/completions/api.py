"""OpenAI's API of completions as a part of an ASGI application: answers whole, or as server-sent events.

https://platform.openai.com/docs/api-reference: /v1/completions, /v1/chat/completions and the list /v1/models.
"""
from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import orjson
from tensorflow_serving.apis import model_pb2

from serving import http_body
from serving.completions import chat
from serving.completions.answers import Sender, Shape
from serving.completions.continuation import Continuation, Settings
from serving.completions.requests import MOST_TEXTS, Asked, ChatRequest, CompletionRequest, RequestError, parse
from serving.core import Core
from serving.errors import ServingError
from serving.http_body import Receive, Send
from serving.manager import Version
from serving.security import Guard

log = logging.getLogger("litepress.serving")
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
PATHS: dict[str, type[Asked]] = {COMPLETIONS: CompletionRequest, CHAT: ChatRequest}
#: Tokens between two looks at whether the client is still there, where the answer comes whole, and in a stream.
WHOLE, STREAMED = 32, 1


class Completions:
    """The application.

    Args:
        core: what answers.
        guard: checks tokens.
        headers: that every answer has.
    """

    def __init__(self, core: Core, guard: Guard, headers: Sequence[tuple[bytes, bytes]] = ()):
        self.core, self.guard, self.headers = core, guard, list(headers)
        self._started = int(time.time())

    def models(self) -> bytes:
        """Return the list of models, as GET /v1/models answers."""
        names = sorted(name for name, model in self.core.manager.models.items() if model.available)
        return orjson.dumps({"object": "list", "data": [
            {"id": name, "object": "model", "created": self._started, "owned_by": "litepress"} for name in names]})

    async def __call__(self, path: str, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        """Answer a POST to one of `PATHS`."""
        answer = Sender(send, self.headers)
        try:
            self.guard.check(headers.get(b"authorization"))
            with self.core.taken():
                body = await http_body.read(headers, receive, self.core.options)
                await self._answer(path, body, receive, answer)
        except RequestError as error:
            await answer.fail(error)
        except ServingError as error:
            await answer.fail(RequestError(error.message, error.http))
        except http_body.TooLarge:
            await answer.fail(RequestError(
                f"the body is larger than {self.core.options.max_request_bytes} bytes", 413))
        except TimeoutError:
            await answer.fail(RequestError("the body came too slowly", 408))
        except ConnectionError:
            return
        except Exception:
            log.exception("a request failed")
            await answer.fail(RequestError("Internal error", 500))

    async def _answer(self, path: str, body: bytes, receive: Receive, answer: Sender) -> None:
        """Answer a request, and stop in the middle of it where the client goes away."""
        asked = parse(PATHS[path], body)
        spec = model_pb2.ModelSpec(name=asked.model)
        with self.core.measured(spec, "ChatCompletions" if path == CHAT else "Completions", "REST"):
            version = self._held(asked.model)
            try:
                work = asyncio.ensure_future(self._written(asked, version, answer))
                gone = asyncio.ensure_future(_gone(receive))
                try:
                    await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    gone.cancel()
                    stopped = not work.done()
                    work.cancel()
                    await asyncio.wait({work})
                if stopped:
                    raise ServingError(grpc.StatusCode.CANCELLED, "the client went away")
                await work
            finally:
                self.core.manager.let_go(version)

    def _held(self, name: str) -> Version:
        try:
            return self.core.hold(model_pb2.ModelSpec(name=name))
        except ServingError as error:
            if error.code != grpc.StatusCode.NOT_FOUND:
                raise
            raise RequestError(f"The model `{name[:200]}` does not exist; GET /v1/models lists those that do", 404,
                               "model", "model_not_found") from error

    async def _written(self, asked: Any, version: Version, answer: Sender) -> None:
        is_chat = isinstance(asked, ChatRequest)
        stops = asked.stops
        if is_chat:
            pieces, own = chat.pieces(asked.messages, version.folder)
            prompts, stops = [pieces], [*stops, *own]
        else:
            prompts = [[chat.Piece(prompt, chat.NOTHING)] for prompt in asked.prompts]
        if len(prompts) * asked.n > MOST_TEXTS:
            raise RequestError(f"n: {len(prompts)} prompts with {asked.n} texts each are more than {MOST_TEXTS} texts",
                               param="n")
        seed = secrets.randbits(31) if asked.seed is None else asked.seed
        settings = Settings(asked.most, asked.temperature, asked.top_k, asked.top_p, seed, asked.n, stops, is_chat)
        continuation = Continuation(self.core, version, asked.model, prompts, settings)
        await self._in_time(continuation.begin())
        shape = Shape(asked, version.number)
        parts = continuation.parts(STREAMED if asked.stream else WHOLE)
        texts = [prompt[0].text if getattr(asked, "echo", False) else "" for prompt in prompts for _ in range(asked.n)]
        if asked.stream:
            await self._streamed(continuation, parts, texts, shape, answer)
            return
        while (some := await self._in_time(anext(parts, None))) is not None:
            texts = [text + part for text, part in zip(texts, some, strict=True)]
        reasons = [text.reason for text in continuation.texts]
        await answer.whole(shape.whole(texts, reasons, continuation.usage))

    async def _streamed(self, continuation: Continuation, parts: Any, before: Sequence[str], shape: Shape,
                        answer: Sender) -> None:
        await answer.begin_stream()
        reported = [False] * len(before)
        for row, beginning in enumerate(before):
            if beginning or shape.is_chat:
                await answer.event(shape.part(row, beginning, None, first=True))
        while (some := await self._in_time(anext(parts, None))) is not None:
            for row, (part, text) in enumerate(zip(some, continuation.texts, strict=True)):
                if part:
                    await answer.event(shape.part(row, part, None))
                if text.reason is not None and not reported[row]:
                    reported[row] = True
                    await answer.event(shape.part(row, "", text.reason))
        if shape.counts:
            await answer.event(shape.counted(continuation.usage))
        await answer.end_stream()

    async def _in_time(self, work: Any) -> Any:
        try:
            return await asyncio.wait_for(work, self.core.options.rest_api_timeout_in_ms / 1000)
        except TimeoutError:
            raise ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, "Timed out waiting for the model") from None


async def _gone(receive: Receive) -> None:
    """Wait until the client goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass
