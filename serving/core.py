"""What both protocols call: requests as TF Serving's messages, answers likewise. gRPC and REST only translate.

Follows servables/tensorflow/*.cc and model_servers/*_impl.cc of TF Serving: the same checks, order, codes and words.
"""
from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving import examples, messages, servable, tensors, warmup
from serving.batching import Batcher, Parameters
from serving.errors import ServingError, StartError, invalid, unavailable
from serving.flags import Options
from serving.manager import Manager, Version
from serving.metrics import Metrics
from serving.request_log import RequestLog
from serving.servable import Servable

PER_MODEL = "batching_params.pbtxt"
SIGNATURE_DEF = "signature_def"
#: The version that answers the request of this task.
_answering: contextvars.ContextVar[int | None] = contextvars.ContextVar("answering", default=None)
METHODS = (servable.PREDICT, examples.CLASSIFY, examples.REGRESS)


class Core:
    """The models of a server and every call on them.

    Args:
        options: the server's flags.

    Raises:
        StartError: the batching parameters are broken.
    """

    def __init__(self, options: Options):
        self.options, self.metrics = options, Metrics()
        self.manager = Manager(options, self._load)
        self.log = RequestLog()
        self.draining = False
        self.under_way = 0
        self._threads = ThreadPoolExecutor(max(1, options.grpc_max_threads), "run")
        #: Of models whose versions bring their own parameters, gone with them; and the one of all others.
        self._own: weakref.WeakKeyDictionary[Servable, Batcher] = weakref.WeakKeyDictionary()
        shared = self._batcher(Path(options.batching_parameters_file) if options.batching_parameters_file else None)
        self._shared = shared if options.enable_batching and not options.enable_per_model_batching_parameters else None

    def _load(self, name: str, number: int, folder: Path) -> Servable:
        """Return a version, loaded and warmed up; in a thread."""
        loaded = servable.load(folder, self.options)
        try:
            own = self.options.enable_batching and self.options.enable_per_model_batching_parameters
            if own and (folder / PER_MODEL).is_file():
                self._own[loaded] = self._batcher(folder / PER_MODEL)
            if self.options.enable_model_warmup:
                warmup.replay(folder, loaded, max(1, self.options.num_request_iterations_for_warmup))
        except (ServingError, StartError) as error:
            loaded.close()
            raise error if isinstance(error, ServingError) else invalid(str(error)) from error
        return loaded

    def hold(self, spec: Any) -> Version:
        """Return the version that answers, held until `manager.let_go`; the request's figures name it."""
        version = self.manager.hold(spec)
        _answering.set(version.number)
        return version

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Take a request, before it is read. Raises ServingError where there are too many or the server is going
        down."""
        if self.draining:
            raise unavailable("The server is going down")
        if self.under_way >= self.options.max_concurrent_requests:
            raise unavailable(f"{self.options.max_concurrent_requests} requests are in flight, no more are taken")
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    @contextlib.contextmanager
    def measured(self, spec: Any, call: str, entry: str) -> Iterator[None]:
        """Counts and times a request for Prometheus."""
        start = time.perf_counter()
        status = "OK"
        _answering.set(None)
        try:
            yield
        except ServingError as error:
            status = error.code.name
            raise
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        finally:
            version = _answering.get()
            self.metrics.request(spec.name if spec.name in self.manager.models else "",
                                 "" if version is None else str(version), call,
                                 entry, status, time.perf_counter() - start)

    async def predict(self, request: Any) -> Any:
        """PredictionService.Predict."""
        answers, version, name = await self._predict(request)
        response = _predicted(request, answers, version, name)
        self.log.predict(request, response)
        return response

    async def predict_arrays(self, request: Any) -> dict[str, np.ndarray]:
        """Return the same, as arrays by name."""
        answers, version, name = await self._predict(request)
        if self.log.covers(request.model_spec.name):
            self.log.predict(request, _predicted(request, answers, version, name))
        return answers

    async def _predict(self, request: Any) -> tuple[dict[str, np.ndarray], Version, str]:
        version = self.hold(request.model_spec)
        try:
            name = request.model_spec.signature_name or servable.DEFAULT
            signature = servable.signature_of(version.loaded, name)
            if self.options.enable_signature_method_name_check and signature.method_name not in METHODS:
                raise ServingError(grpc.StatusCode.INTERNAL, "Expected prediction signature method_name to be one of "
                                   f"{{{', '.join(METHODS)}}}. Was: {signature.method_name}")
            inputs = {key: tensors.to_array(value, key) for key, value in request.inputs.items()}
            servable.check_inputs(version.loaded, signature, inputs)
            outputs = _filtered(signature, request.output_filter)
            return await self.run(version, name, inputs, outputs), version, name
        finally:
            self.manager.let_go(version)

    def inputs_of(self, spec: Any, signature: str) -> Any:
        """Return the TensorInfos of a signature's inputs, by name. Raises ServingError."""
        version = self.hold(spec)
        try:
            name = signature or servable.DEFAULT
            if name not in version.loaded.signatures:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            return version.loaded.signatures[name].inputs
        finally:
            self.manager.let_go(version)

    async def classify(self, request: Any) -> Any:
        """PredictionService.Classify."""
        response = await self._filled(request, classification_pb2.ClassificationResponse(), examples.CLASSIFY)
        self.log.classify(request, response)
        return response

    async def regress(self, request: Any) -> Any:
        """PredictionService.Regress."""
        response = await self._filled(request, regression_pb2.RegressionResponse(), examples.REGRESS)
        self.log.regress(request, response)
        return response

    async def _filled(self, request: Any, response: Any, method: str) -> Any:
        result, version, name = await self._on_examples(request.model_spec, request.input, method)
        response.result.CopyFrom(result)
        _answered(response.model_spec, request.model_spec.name, version, name)
        return response

    async def multi_inference(self, request: Any) -> Any:
        """PredictionService.MultiInference."""
        names = {task.model_spec.name for task in request.tasks}
        if "" in names:
            raise invalid("Found ModelSpec with an empty model name.")
        if len(names) > 1:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        seen: set[str] = set()
        for task in request.tasks:
            signature = task.model_spec.signature_name or servable.DEFAULT
            if signature in seen:
                raise invalid(f"Duplicate evaluation of signature: {signature}")
            seen.add(signature)
            if task.method_name not in (examples.CLASSIFY, examples.REGRESS):
                raise ServingError(grpc.StatusCode.UNIMPLEMENTED, "Unsupported signature method_name: "
                                                                  f"{task.method_name}")
        response = inference_pb2.MultiInferenceResponse()
        for task in request.tasks:
            result, version, name = await self._on_examples(task.model_spec, request.input, task.method_name)
            added = response.results.add()
            _answered(added.model_spec, task.model_spec.name, version, name)
            (added.classification_result if task.method_name == examples.CLASSIFY
             else added.regression_result).CopyFrom(result)
        self.log.multi_inference(request, response)
        return response

    async def metadata(self, request: Any) -> Any:
        """PredictionService.GetModelMetadata."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise invalid(f"Metadata field {field} is not supported")
        version = self.hold(request.model_spec)
        try:
            result = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in version.loaded.signatures.items():
                result.signature_def[name].CopyFrom(signature)
        finally:
            self.manager.let_go(version)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version.number
        response.metadata[SIGNATURE_DEF].Pack(result)
        return response

    async def status(self, request: Any) -> Any:
        """ModelService.GetModelStatus."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in self.manager.states(request.model_spec):
            added = response.model_version_status.add(version=version.number, state=int(version.state))
            if version.error is not None:
                added.status.error_code, added.status.error_message = version.error.number, version.error.message
            else:
                added.status.error_code = 0
        return response

    async def reload(self, request: Any) -> Any:
        """ModelService.HandleReloadConfigRequest."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid("ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is "
                          "currently supported")
        await self.configure(request.config)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = 0
        return response

    async def configure(self, config: Any) -> None:
        """Take a ModelServerConfig, its logging too. Raises ServingError."""
        self.log.check(config)
        await self.manager.configure(config)
        self.log.configure(config)

    async def _on_examples(self, spec: Any, value: Any, method: str) -> tuple[Any, Version, str]:
        version = self.hold(spec)
        try:
            name = spec.signature_name or servable.DEFAULT
            if name not in version.loaded.signatures:
                raise invalid(f"No signature was found with the name: {name}")
            signature = version.loaded.signatures[name]
            outputs = examples.check(signature, name, method, self.options.enable_signature_method_name_check)
            rows = examples.serialized(value)
            inputs = {examples.INPUTS: rows}
            servable.check_inputs(version.loaded, signature, inputs)
            answers = await self.run(version, name, inputs, outputs)
        finally:
            self.manager.let_go(version)
        made = examples.classifications if method == examples.CLASSIFY else examples.regressions
        return made(answers, len(rows)), version, name

    async def run(self, version: Version, signature: str, inputs: dict[str, np.ndarray],
                  outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Run a signature in a thread, batched where batching is on; its version is held until the run has ended."""
        loaded = version.loaded
        batcher = self._shared or self._own.get(loaded)
        if batcher is None:
            work: asyncio.Future = asyncio.get_running_loop().run_in_executor(self._threads, loaded.run, signature,
                                                                              inputs, outputs)
        else:
            work = asyncio.ensure_future(batcher.submit((id(version), signature, tuple(outputs)), inputs,
                                                        lambda stacked: loaded.run(signature, stacked, outputs)))
        version.uses += 1
        work.add_done_callback(lambda done: self._ended(done, version))
        return await asyncio.shield(work)

    def _ended(self, work: asyncio.Future, version: Version) -> None:
        self.manager.let_go(version)
        if not work.cancelled():
            work.exception()  # looked at, where nobody waits for it any more

    def _batcher(self, path: Path | None) -> Batcher:
        """Return a batcher with a file's parameters, or the usual ones. Raises StartError where the file is broken."""
        if path is None:
            return Batcher(Parameters(), self.metrics.batch)
        read = messages.read(path, messages.BatchingParameters)
        return Batcher(Parameters.of(read, str(path)), self.metrics.batch)

    @property
    def _batchers(self) -> list[Batcher]:
        return [*([self._shared] if self._shared else []), *self._own.values()]

    @property
    def waiting(self) -> int:
        """Requests that wait for a batch."""
        return sum(batcher.waiting for batcher in self._batchers)

    async def finished(self, within: float) -> bool:
        """Return whether all requests in flight ended within so many seconds."""
        end = time.monotonic() + within
        while self.under_way and time.monotonic() < end:
            await asyncio.sleep(0.02)
        return not self.under_way

    async def close(self) -> None:
        """End batches, unload models, write what is logged."""
        for batcher in self._batchers:
            await batcher.close()
        await self.manager.close()
        self._threads.shutdown(wait=False)
        self.log.close()


def _filtered(signature: Any, requested: Sequence[str]) -> list[str]:
    known = sorted(signature.outputs)
    seen: set[str] = set()
    for name in requested:
        if name not in signature.outputs:
            raise invalid(f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                          f"{{{','.join(known)}}}.")
        if name in seen:
            raise invalid(f"duplicate output tensor alias: {name}")
        seen.add(name)
    return list(requested) or known


def _predicted(request: Any, answers: dict[str, np.ndarray], version: Version, signature: str) -> Any:
    response = predict_pb2.PredictResponse()
    _answered(response.model_spec, request.model_spec.name, version, signature)
    for name, value in answers.items():
        tensors.to_proto(value, response.outputs[name])
    return response


def _answered(spec: Any, name: str, version: Version, signature: str) -> None:
    spec.name, spec.signature_name = name, signature
    spec.version.value = version.number

