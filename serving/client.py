"""Clients of TF Serving, over gRPC and REST: of the original and of the embedded server alike. Both are Predictors.

    with GrpcClient("127.0.0.1:8500", "digits") as client:
        scores = client.predict({"image": images})["scores"]
"""
from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
import requests
import urllib3
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from export.signature import Signature, Tensor
from export.tensors import described
from serving import tensors
from serving.errors import HTTP, ServingError, of_grpc
from serving.servable import DEFAULT

#: Numbers in one request, at most: written in JSON they stay below the 64 MiB that a server here reads.
MOST_NUMBERS = 2_000_000
#: What one may ask of each: how often it is tried, and the first and longest pause between, in seconds.
TRIES, FIRST_PAUSE, LONGEST_PAUSE = 5, 0.1, 2.0
_RETRY = {"methodConfig": [{"name": [{}], "retryPolicy": {
    "maxAttempts": TRIES, "initialBackoff": f"{FIRST_PAUSE}s", "maxBackoff": f"{LONGEST_PAUSE}s",
    "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}
_CODES = {number: grpc.StatusCode[name] for name, number in reversed(HTTP.items())}


@dataclasses.dataclass(frozen=True)
class Tls:
    """PEM files.

    Args:
        authority: who signed the server's certificate; the system's authorities where not given.
        key, certificate: the client's own, where the server asks for one.
    """

    authority: Path | None = None
    key: Path | None = None
    certificate: Path | None = None


@dataclasses.dataclass(frozen=True)
class Access:
    """How to reach a model.

    Args:
        address: host:port.
        model: its name.
        version: its number; the newest where neither it nor a label is given.
        label: `stable`, `canary`, ….
        signature: the signature to ask.
        deadline: seconds that a call may take.
        batch: examples in one request, at most.
        tls: for an encrypted connection.
        token: a bearer token.
        retry: try again where the server is UNAVAILABLE.
    """

    address: str
    model: str
    version: int | None = None
    label: str | None = None
    signature: str = DEFAULT
    deadline: float = 30.0
    batch: int = 256
    tls: Tls | None = None
    token: str = ""
    retry: bool = True

    @property
    def url(self) -> str:
        """Of the model over REST, with its version or label."""
        path = f"/labels/{self.label}" if self.label else ""
        if self.version is not None:
            path = f"/versions/{self.version}"
        return f"http{'s' if self.tls else ''}://{self.address}/v1/models/{self.model}{path}"


class _Client:
    """A Predictor over calls that a protocol makes: what both protocols share.

    Args:
        address: host:port, or an Access.
        model: the model's name, where an address is given.
        settings: the other fields of Access.
    """

    def __init__(self, address: str | Access, model: str = "", **settings: Any):
        self.access = address if isinstance(address, Access) else Access(address, model, **settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        raise NotImplementedError

    def ask(self, inputs: Mapping[str, np.ndarray], *, signature: str = DEFAULT) -> dict[str, np.ndarray]:
        """Return the outputs of one call of Predict. Raises ServingError.

        Args:
            signature: to ask; the default one means that of `Access`.
        """
        raise NotImplementedError

    def metadata(self) -> dict[str, Any]:
        """Return the model's signatures by name (SignatureDef messages)."""
        raise NotImplementedError

    @functools.cached_property
    def definitions(self) -> Mapping[str, Any]:
        """Return the model's signatures by name, as the server gave them first (SignatureDef messages)."""
        return self.metadata()

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """Return the ways to call the model, by name; its own first, where it was said in `Access`. Raises
        ServingError."""
        names = sorted(self.definitions, key=lambda name: (name != self.access.signature, name))
        return {name: _signature(name, self.definitions[name]) for name in names}

    def predict(self, inputs: Mapping[str, np.ndarray], signature: str = DEFAULT) -> dict[str, np.ndarray]:
        """Return outputs by name for a batch of inputs by name, in calls of `batch` examples, or fewer where those
        would be more than `MOST_NUMBERS`. Raises ServingError."""
        examples = len(next(iter(inputs.values())))
        numbers = sum(value.size for value in inputs.values()) // max(examples, 1)
        most = min(self.access.batch, max(1, MOST_NUMBERS // max(numbers, 1)))
        parts = [self.ask({name: value[start:start + most] for name, value in inputs.items()}, signature=signature)
                 for start in range(0, max(examples, 1), most)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def prepared(self, inputs: Mapping[str, np.ndarray], signature: str = DEFAULT) -> Callable[[], object]:
        """Return one call, for a benchmark."""
        return lambda: self.ask(inputs, signature=signature)

    def _asked(self, signature: str) -> str:
        return self.access.signature if signature == DEFAULT else signature


class GrpcClient(_Client):
    """A model behind TF Serving's gRPC API."""

    def __init__(self, address: str | Access, model: str = "", **settings: Any):
        super().__init__(address, model, **settings)
        options: list[tuple[str, Any]] = [
            ("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1),
            ("grpc.keepalive_time_ms", 60_000), ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.enable_retries", int(self.access.retry))]
        if self.access.retry:
            options.append(("grpc.service_config", json.dumps(_RETRY)))
        tls = self.access.tls
        self._channel = grpc.insecure_channel(self.access.address, options) if tls is None else grpc.secure_channel(
            self.access.address, grpc.ssl_channel_credentials(*(
                path.read_bytes() if path else None for path in (tls.authority, tls.key, tls.certificate))), options)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._headers = [("authorization", f"Bearer {self.access.token}")] if self.access.token else None

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=self.access.deadline, metadata=self._headers)
        except grpc.RpcError as error:
            raise of_grpc(error) from error

    def spec(self, signature: str | None = None) -> Any:
        """Return the ModelSpec that this client asks."""
        return model_spec(self.access, self.access.signature if signature is None else signature)

    def ask(self, inputs: Mapping[str, np.ndarray], outputs: tuple[str, ...] = (), *,
            signature: str = DEFAULT) -> dict[str, np.ndarray]:
        request = predict_pb2.PredictRequest(model_spec=self.spec(self._asked(signature)), output_filter=outputs)
        for name, value in inputs.items():
            tensors.to_proto(value, request.inputs[name], packed=True)
        response = self._call(self._prediction.Predict, request)
        return {name: tensors.to_array(value, name) for name, value in response.outputs.items()}

    def classify(self, examples: Any, signature: str = "classify") -> list[list[tuple[str, float]]]:
        """Return labels and scores for tf.train.Example messages, for each of them."""
        request = classification_pb2.ClassificationRequest(model_spec=self.spec(signature))
        request.input.example_list.examples.extend(examples)
        result = self._call(self._prediction.Classify, request).result
        return [[(one.label, one.score) for one in row.classes] for row in result.classifications]

    def regress(self, examples: Any, signature: str = "regress") -> list[float]:
        """Return a value for each tf.train.Example message."""
        request = regression_pb2.RegressionRequest(model_spec=self.spec(signature))
        request.input.example_list.examples.extend(examples)
        return [one.value for one in self._call(self._prediction.Regress, request).result.regressions]

    def metadata(self) -> dict[str, Any]:
        field = "signature_def"
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=self.spec(""), metadata_field=[field])
        definitions = get_model_metadata_pb2.SignatureDefMap()
        self._call(self._prediction.GetModelMetadata, request).metadata[field].Unpack(definitions)
        return dict(definitions.signature_def)

    def status(self) -> dict[int, str]:
        """Return the state of each version, by its number."""
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=self.spec(""))
        states = get_model_status_pb2.ModelVersionStatus.State
        versions = self._call(self._models.GetModelStatus, request).model_version_status
        return {one.version: states.Name(one.state) for one in versions}

    def reload(self, config: Any) -> None:
        """Give the server another ModelServerConfig. Raises ServingError where it does not take it."""
        self._call(self._models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest(config=config))


class RestClient(_Client):
    """A model behind TF Serving's REST API."""

    def __init__(self, address: str | Access, model: str = "", **settings: Any):
        super().__init__(address, model, **settings)
        self._session = requests.Session()
        self._session.trust_env = False  # the server is named by its address; no proxy stands between
        if self.access.retry:
            again = urllib3.Retry(total=TRIES - 1, read=False, other=False, status=TRIES - 1, status_forcelist=[503],
                                  allowed_methods=None, backoff_factor=FIRST_PAUSE, backoff_max=LONGEST_PAUSE,
                                  raise_on_status=False)
            for scheme in ("http://", "https://"):
                self._session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=again))
        tls = self.access.tls
        if tls is not None:
            self._session.verify = str(tls.authority) if tls.authority else True
            if tls.key and tls.certificate:
                self._session.cert = (str(tls.certificate), str(tls.key))
        if self.access.token:
            self._session.headers["Authorization"] = f"Bearer {self.access.token}"

    def close(self) -> None:
        self._session.close()

    def _call(self, method: str, ending: str, body: Any = None) -> Any:
        try:
            response = self._session.request(method, self.access.url + ending, timeout=self.access.deadline,
                                             data=None if body is None else json.dumps(body),
                                             headers={"Content-Type": "application/json"})
        except requests.Timeout as error:
            message = f"no answer within {self.access.deadline:g} s"
            raise ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, message) from error
        except requests.RequestException as error:
            message = f"{self.access.address} cannot be asked: {str(error)[:200]}"
            raise ServingError(grpc.StatusCode.UNAVAILABLE, message) from error
        if response.status_code != 200:
            message = response.text[:500]
            with contextlib.suppress(ValueError, KeyError, TypeError):
                message = json.loads(response.content)["error"]
            raise ServingError(_CODES.get(response.status_code, grpc.StatusCode.UNKNOWN), message)
        return json.loads(response.content)  # requests may read by simplejson, which knows no Infinity

    def ask(self, inputs: Mapping[str, np.ndarray], *, signature: str = DEFAULT) -> dict[str, np.ndarray]:
        name = self._asked(signature)
        body = {"signature_name": name, "inputs": {one: plain(value) for one, value in inputs.items()}}
        answer = self._call("POST", ":predict", body)["outputs"]
        outputs = self.definitions[name].outputs
        named = answer if isinstance(answer, dict) and len(outputs) > 1 else {next(iter(outputs)): answer}
        return {one: _array(value, outputs[one].dtype) for one, value in named.items()}

    def classify(self, examples: list[dict[str, Any]], signature: str = "classify") -> list[list[tuple[str, float]]]:
        """Return labels and scores for examples as feature name to value, for each of them; bytes go as base64."""
        listed = [{name: plain(value) for name, value in one.items()} for one in examples]
        body = {"signature_name": signature, "examples": listed}
        return [[(label, score) for label, score in row] for row in self._call("POST", ":classify", body)["results"]]

    def metadata(self) -> dict[str, Any]:
        definitions = self._call("GET", "/metadata")["metadata"]["signature_def"]
        return dict(json_format.ParseDict(definitions, get_model_metadata_pb2.SignatureDefMap()).signature_def)

    def status(self) -> dict[int, str]:
        """Return the state of each version, by its number."""
        return {int(one["version"]): one["state"] for one in self._call("GET", "")["model_version_status"]}


def model_spec(access: Access, signature: str) -> Any:
    """Return the ModelSpec of a request."""
    spec = model_pb2.ModelSpec(name=access.model, signature_name=signature)
    if access.version is not None:
        spec.version.value = access.version
    elif access.label:
        spec.version_label = access.label
    return spec


def _signature(name: str, definition: Any) -> Signature:
    """Return a SignatureDef message as all predictors show it. Its maps have no order, so names are sorted."""
    inputs, outputs = definition.inputs, definition.outputs
    return Signature(name=name, inputs=tuple(_tensor(one, inputs[one]) for one in sorted(inputs)),
                     outputs=tuple(_tensor(one, outputs[one], output=True) for one in sorted(outputs)))


def _tensor(name: str, info: Any, *, output: bool = False) -> Tensor:
    known = info.dtype in tensors.KINDS and info.dtype != tensors.STRING
    dtype = np.dtype(tensors.KINDS[info.dtype][0]).name if known else tensors.type_name(info.dtype)
    return described(name, dtype, tensors.dims(info.tensor_shape) or (), output=output)


def plain(value: Any) -> Any:
    """Return an array or a value as JSON has it: text as base64."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist()) if value.dtype.kind in "OS" else value.tolist()
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def _array(value: Any, number: int) -> np.ndarray:
    if number != tensors.STRING:
        return np.array(value, tensors.KINDS[number][0])
    return np.frompyfunc(_decoded, 1, 1)(np.array(value, object))


def _decoded(text: str | dict[str, str]) -> bytes:
    """Return a string of a JSON answer as bytes; what is not text comes as {"b64": …}."""
    return base64.b64decode(text["b64"]) if isinstance(text, dict) else text.encode()
