"""TF Serving's gRPC services over a core: prediction, models, health, reflection, TensorFlow's profiler.

Messages come as bytes and are parsed here, so that broken ones are INVALID_ARGUMENT.
"""
from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.core import Core
from serving.errors import ServingError, invalid
from serving.security import Guard

log = logging.getLogger("litepress.serving")
PREDICTION, MODELS = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
PROFILER = "tensorflow.ProfilerService"
#: Messages of more bytes are parsed in a thread.
INLINE = 1 << 18
Call = Callable[[Any], Awaitable[Message]]


def _first_task(request: Any) -> Any:
    return request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()


def add_services(server: grpc.aio.Server, core: Core, guard: Guard) -> health.aio.HealthServicer:
    """Add every service to a server; the health service, which says SERVING as soon as it is told so."""
    def handler(name: str, kind: type[Message], call: Call,
                spec: Callable[[Any], Any] = lambda request: request.model_spec
                ) -> grpc.RpcMethodHandler:
        async def handle(content: bytes, context: grpc.aio.ServicerContext) -> bytes:
            try:
                guard.check(dict(context.invocation_metadata() or ()).get("authorization"))
                with core.taken():
                    request = await _parsed(kind, content)
                    with core.measured(spec(request), name, "GRPC"):
                        return (await call(request)).SerializeToString()
            except ServingError as error:
                await context.abort(error.code, error.message)
            except (asyncio.CancelledError, grpc.aio.AbortError):
                raise
            except Exception:
                log.exception("%s failed", name)
                await context.abort(grpc.StatusCode.INTERNAL, "Internal error")
            raise AssertionError("abort returns never")

        return grpc.unary_unary_rpc_method_handler(handle)

    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler(PREDICTION, {
            "Predict": handler("Predict", predict_pb2.PredictRequest, core.predict),
            "Classify": handler("Classify", classification_pb2.ClassificationRequest, core.classify),
            "Regress": handler("Regress", regression_pb2.RegressionRequest, core.regress),
            "MultiInference": handler("MultiInference", inference_pb2.MultiInferenceRequest, core.multi_inference,
                                      _first_task),
            "GetModelMetadata": handler("GetModelMetadata", get_model_metadata_pb2.GetModelMetadataRequest,
                                        core.metadata)}),
        grpc.method_handlers_generic_handler(MODELS, {
            "GetModelStatus": handler("GetModelStatus", get_model_status_pb2.GetModelStatusRequest, core.status),
            "HandleReloadConfigRequest": handler("HandleReloadConfigRequest", model_management_pb2.ReloadConfigRequest,
                                                 core.reload,
                                                 lambda request: model_pb2.ModelSpec())})))
    if core.options.enable_profiler:
        server.add_generic_rpc_handlers((_profiler(guard),))
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection((PREDICTION, MODELS, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return servicer


async def set_serving(servicer: health.aio.HealthServicer, serving: bool) -> None:
    """Tell the health service how things are."""
    status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
    for name in ("", PREDICTION, MODELS):
        await servicer.set(name, status)


async def _parsed(kind: type[Message], content: bytes) -> Any:
    try:
        return await asyncio.to_thread(kind.FromString, content) if len(content) > INLINE else kind.FromString(content)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The request is not a {kind.DESCRIPTOR.name} message") from error


def _profiler(guard: Guard) -> grpc.GenericRpcHandler:
    """TensorFlow's own profiler service, started when it is first asked, and asked in turn."""
    channels: list[grpc.aio.Channel] = []

    def forward(method: str) -> grpc.RpcMethodHandler:
        async def handle(content: bytes, context: grpc.aio.ServicerContext) -> bytes:
            try:
                guard.check(dict(context.invocation_metadata() or ()).get("authorization"))
                if not channels:
                    channels.append(grpc.aio.insecure_channel(f"127.0.0.1:{await asyncio.to_thread(_start_profiler)}"))
                return await channels[0].unary_unary(f"/{PROFILER}/{method}")(content)
            except ServingError as error:
                await context.abort(error.code, error.message)
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            raise AssertionError("abort returns never")

        return grpc.unary_unary_rpc_method_handler(handle)

    return grpc.method_handlers_generic_handler(PROFILER,
                                                {method: forward(method) for method in ("Profile", "Terminate",
                                                                                        "Monitor")})


def _start_profiler() -> int:
    import tensorflow as tf

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tf.profiler.experimental.server.start(port)
    return port
