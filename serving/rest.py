"""TF Serving's REST API as an ASGI application (model_servers/http_rest_api_handler.cc, http_server.cc)."""
from __future__ import annotations

import asyncio
import gzip
import logging
import re
import urllib.parse
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving import http_body, json_answers, json_examples, json_tensors
from serving.completions.api import PATHS, Completions
from serving.core import SIGNATURE_DEF, Core
from serving.errors import ServingError, invalid, unavailable
from serving.http_body import Receive, Scope, Send
from serving.security import Guard

log = logging.getLogger("litepress.serving")
_CALL = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:(classify|regress|predict)",
                   re.IGNORECASE)
_STATUS = re.compile(r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?:/(metadata))?", re.IGNORECASE)
_CORS = [(b"access-control-allow-origin", b"*"), (b"access-control-allow-methods", b"POST, GET"),
         (b"access-control-allow-headers", b"Content-Type")]
#: Bodies of more bytes are parsed in a thread.
INLINE = 1 << 16
#: Answers of more bytes are packed where the client takes gzip.
WORTH_PACKING = 1 << 10
#: Bodies in flight may have so many times the bytes of the largest one together; beyond that new ones are UNAVAILABLE.
BODIES = 8
#: Large bodies that are parsed at a time: JSON takes many times its bytes as Python's lists.
PARSED = 2


class Rest:
    """The application.

    Args:
        core: what answers.
        guard: checks tokens.
        monitoring: the path of Prometheus's page; empty for none.
    """

    def __init__(self, core: Core, guard: Guard, monitoring: str = ""):
        self.core, self.guard, self.monitoring = core, guard, monitoring
        self.slots = asyncio.Semaphore(max(1, core.options.rest_api_num_threads))
        self.parsing = asyncio.Semaphore(PARSED)
        self.held = 0
        self.completions = Completions(core, guard, _CORS if core.options.rest_api_enable_cors_support else ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name: value for name, value in scope["headers"]}
        if scope["method"] == "POST" and scope["path"] in PATHS:
            await self.completions(scope["path"], headers, receive, send)
            return
        try:
            status, body, kind = await self._answer(scope, headers, receive)
        except ServingError as error:
            status, body, kind = error.http, json_answers.error(error.message), b"application/json"
        except http_body.TooLarge:
            status, kind = 413, b"application/json"
            body = json_answers.error(f"the body is larger than {self.core.options.max_request_bytes} bytes")
        except TimeoutError:
            status, body, kind = 408, json_answers.error("the body came too slowly"), b"application/json"
        except ConnectionError:
            return
        except Exception:
            log.exception("a request failed")
            status, body, kind = 500, json_answers.error("Internal error"), b"application/json"
        sent = [(b"content-type", kind)]
        if len(body) >= WORTH_PACKING and b"gzip" in headers.get(b"accept-encoding", b""):
            body = gzip.compress(body, 1, mtime=0)
            sent.append((b"content-encoding", b"gzip"))
        if self.core.options.rest_api_enable_cors_support:
            sent += _CORS
        await send({"type": "http.response.start", "status": status,
                    "headers": [*sent, (b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> tuple[int, bytes, bytes]:
        method, path = scope["method"], scope["raw_path"].decode("latin-1").partition("?")[0]
        if method == "OPTIONS" and self.core.options.rest_api_enable_cors_support:
            return 200, b"", b"text/plain"
        self.guard.check(headers.get(b"authorization"))
        if self.monitoring and path == self.monitoring:
            return 200, self._figures(), b"text/plain; version=0.0.4; charset=utf-8"
        if not path.lower().startswith("/v1/"):
            return 404, b"", b"text/plain"
        if method == "POST" and (match := _CALL.fullmatch(path)):
            spec, call = _spec(match), match[4].lower()
            with self.core.taken(), self.core.measured(spec, call.capitalize(), "REST"):
                body = await http_body.read(headers, receive, self.core.options)
                self.held += len(body)
                try:
                    if self.held > BODIES * self.core.options.max_request_bytes:
                        raise unavailable("The bodies in flight are too large together")
                    async with asyncio.timeout(self.core.options.rest_api_timeout_in_ms / 1000), self.slots:
                        return 200, await self._call(call, spec, body), b"application/json"
                except TimeoutError:
                    raise ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, "Timed out waiting for the model") from None
                finally:
                    self.held -= len(body)
        if method == "GET" and (match := _STATUS.fullmatch(path)):
            spec = _spec(match)
            if not spec.name and not (match[2] or match[3] or match[4]):
                return 200, self.completions.models(), b"application/json"
            if not spec.name:
                raise invalid("Missing model name in request.")
            call = "GetModelMetadata" if match[4] else "GetModelStatus"
            with self.core.taken(), self.core.measured(spec, call, "REST"):
                return 200, await (self._metadata(spec) if match[4] else self._status(spec)), b"application/json"
        raise invalid(f"Malformed request: {method} {path[:200]}")

    async def _call(self, call: str, spec: Any, body: bytes) -> bytes:
        document = await self._aside(len(body), json_tensors.parse, body)
        if call == "predict":
            request = predict_pb2.PredictRequest(model_spec=spec)
            rows = await self._aside(len(body), json_tensors.fill_predict, document, request,
                                     lambda name: self.core.inputs_of(spec, name),
                                     b"true" not in body and b"false" not in body)
            answers = await self.core.predict_arrays(request)
            size = sum(value.nbytes for value in answers.values())
            return await self._aside(size, json_answers.predictions if rows else json_answers.outputs, answers)
        if call == "classify":
            asked = classification_pb2.ClassificationRequest(model_spec=spec)
            await self._aside(len(body), json_examples.fill_examples, document, asked)
            found = (await self.core.classify(asked)).result
            return json_answers.results([[[one.label, json_answers.number(one.score)] for one in row.classes]
                                         for row in found.classifications])
        requested = regression_pb2.RegressionRequest(model_spec=spec)
        await self._aside(len(body), json_examples.fill_examples, document, requested)
        return json_answers.results([json_answers.number(one.value)
                                     for one in (await self.core.regress(requested)).result.regressions])

    async def _aside(self, size: int, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function: in a thread, few at a time, where what it works on is large."""
        if size <= INLINE:
            return function(*arguments)
        async with self.parsing:
            return await asyncio.to_thread(function, *arguments)

    async def _status(self, spec: Any) -> bytes:
        return _json(await self.core.status(get_model_status_pb2.GetModelStatusRequest(model_spec=spec)))

    async def _metadata(self, spec: Any) -> bytes:
        result = await self.core.metadata(get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec,
                                                                                        metadata_field=[SIGNATURE_DEF]))
        signatures = get_model_metadata_pb2.SignatureDefMap()
        result.metadata[SIGNATURE_DEF].Unpack(signatures)
        return (b'{\n"model_spec":' + _json(result.model_spec) + b',\n"metadata": {"signature_def": '
                + _json(signatures)
                + b"}\n}\n")

    def _figures(self) -> bytes:
        self.core.metrics.under_way.set(self.core.under_way)
        self.core.metrics.waiting.set(self.core.waiting)
        return self.core.metrics.page()


def _spec(match: re.Match[str]) -> Any:
    spec = model_pb2.ModelSpec(name=urllib.parse.unquote(match[1] or ""))
    if match[2]:
        if int(match[2][:30]) >= 2 ** 63:
            raise invalid(f"Failed to convert version: {match[2][:30]} to numeric.")
        spec.version.value = int(match[2])
    elif match[3]:
        spec.version_label = urllib.parse.unquote(match[3])
    return spec


def _json(message: Message) -> bytes:
    return json_format.MessageToJson(message, preserving_proto_field_name=True,
                                     always_print_fields_with_no_presence=True,
                                     indent=1).encode()
