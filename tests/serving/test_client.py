"""A client is a predictor; it tries again where a server is UNAVAILABLE, and nowhere else."""
import http.server
import json
import threading
import time
from concurrent import futures

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2

from serving import tensors
from serving.client import GrpcClient, RestClient
from serving.errors import ServingError

ROW = {"x": np.array([[1, 2]], "float32")}


@pytest.fixture
def moody():
    """A server that answers each call with the next of a list of codes, then OK; its address, the list, the calls."""
    codes, calls = [], []

    def predict(request, context):
        calls.append(request.model_spec.signature_name)
        if codes:
            context.abort(codes.pop(0), "not now")
        response = predict_pb2.PredictResponse()
        tensors.to_proto(np.ones((1, 1), "float32"), response.outputs["y"])
        return response

    handler = grpc.unary_unary_rpc_method_handler(predict, predict_pb2.PredictRequest.FromString,
                                                  predict_pb2.PredictResponse.SerializeToString)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service = grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": handler})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", codes, calls
    server.stop(0)


def test_grpc_is_tried_again_while_it_is_unavailable(moody):
    address, codes, calls = moody
    codes[:] = [grpc.StatusCode.UNAVAILABLE] * 2
    with GrpcClient(address, "m") as client:
        assert client.ask(ROW)["y"].tolist() == [[1.0]]
    assert len(calls) == 3


@pytest.mark.parametrize("code", [
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL])
def test_grpc_is_not_tried_again_after_another_error(moody, code):
    address, codes, calls = moody
    codes[:] = [code] * 2
    with GrpcClient(address, "m") as client, pytest.raises(ServingError) as caught:
        client.ask(ROW)
    assert (caught.value.code, caught.value.message, len(calls)) == (code, "not now", 1)


def test_grpc_is_tried_once_where_retries_are_off(moody):
    address, codes, calls = moody
    codes[:] = [grpc.StatusCode.UNAVAILABLE]
    with GrpcClient(address, "m", retry=False) as client, pytest.raises(ServingError):
        client.ask(ROW)
    assert len(calls) == 1


@pytest.fixture
def moody_rest():
    """The same over HTTP, for the status of a model."""
    codes, calls = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            calls.append(self.path)
            code = codes.pop(0) if codes else 200
            body = json.dumps({"model_version_status": []} if code == 200 else {"error": "not now"}).encode()
            if code == "slow":
                time.sleep(2)
                code = 200
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", codes, calls
    server.shutdown()


def test_rest_is_tried_again_while_it_is_unavailable_and_nowhere_else(moody_rest):
    address, codes, calls = moody_rest
    codes[:] = [503, 503]
    with RestClient(address, "m") as client:
        assert client.status() == {}
        assert len(calls) == 3
        several = ("FAILED_PRECONDITION", "INTERNAL", "DATA_LOSS")  # that share an HTTP code with another
        for code, name in ((400, "INVALID_ARGUMENT"), (404, "NOT_FOUND"), (429, "RESOURCE_EXHAUSTED"), (500, "UNKNOWN"),
                           (504, None)):
            codes[:], calls[:] = [code], []
            with pytest.raises(ServingError, match="not now") as caught:
                client.status()
            assert len(calls) == 1 and (name is None or caught.value.code.name in (name, *several))


def test_a_deadline_is_kept(moody_rest):
    address, codes, _ = moody_rest
    codes[:] = ["slow"]
    with RestClient(address, "m", deadline=0.3) as client, pytest.raises(ServingError) as caught:
        client.status()
    assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED


def test_nobody_there_is_unavailable():
    with RestClient("127.0.0.1:1", "m", retry=False) as client, pytest.raises(ServingError) as caught:
        client.status()
    assert caught.value.code == grpc.StatusCode.UNAVAILABLE
    with GrpcClient("127.0.0.1:1", "m", retry=False, deadline=5) as client, pytest.raises(ServingError) as caught:
        client.ask(ROW)
    assert caught.value.code == grpc.StatusCode.UNAVAILABLE


@pytest.fixture(params=["grpc", "rest"])
def client_of(request, toy):
    """Opens a client of the model `toy` over a protocol."""
    kind, address = {"grpc": (GrpcClient, toy.grpc), "rest": (RestClient, toy.rest)}[request.param]
    return lambda **settings: kind(address, "toy", **settings)


def test_a_client_knows_the_signatures_of_the_model(client_of):
    with client_of() as client:
        signatures = client.signatures
    assert set(signatures) == {"serving_default", "mixed", "scalars", "classify", "regress"}
    default, mixed = signatures["serving_default"], signatures["mixed"]
    assert [(one.name, one.dtype, one.shape) for one in default.inputs] == [("x", "float32", (2,))]
    assert {one.name: one.shape for one in default.outputs} == {"y": (2,), "s": ()}
    assert {one.name: (one.dtype, one.shape) for one in mixed.inputs} == {
        "text": ("string", ()), "flag": ("bool", ()), "big": ("int64", ())}
    assert {one.name: one.dtype for one in mixed.outputs}["half"] == "float32", "what has no name of its own is widened"


MIXED = {"text": np.array([b"a", b"b"], object), "flag": np.array([True, False]), "big": np.array([1, 2])}


def test_a_client_asks_the_signature_that_it_is_told(client_of):
    with client_of() as client:
        outputs = client.predict(MIXED, "mixed")
        assert outputs["big"].tolist() == [2, 3] and outputs["flag"].tolist() == [False, True]
        assert client.predict(ROW)["y"].tolist() == [[2, 3]]
        assert client.prepared(MIXED, "mixed")()["text"].tolist() == [b"a", b"b"]
        assert client.prepared(ROW)()["s"].tolist() == [3]


def test_a_client_of_one_signature_asks_that_one(client_of):
    with client_of(signature="mixed", batch=1) as client:
        assert next(iter(client.signatures)) == "mixed"
        assert client.predict(MIXED)["big"].tolist() == [2, 3]


def test_an_example_of_a_signature_can_be_asked(client_of):
    with client_of() as client:
        assert client.predict(client.signatures["serving_default"].example(3))["y"].shape == (3, 2)


def test_large_examples_are_asked_in_smaller_calls(moody, monkeypatch):
    address, _, calls = moody
    monkeypatch.setattr("serving.client.MOST_NUMBERS", 5)
    with GrpcClient(address, "m") as client:
        answers = client.predict({"x": np.zeros((5, 2), "float32")})
    assert len(calls) == 3 and answers["y"].shape == (3, 1), "two examples of two numbers a call; the toy answers one"
