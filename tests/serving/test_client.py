"""The client tries again where a server is UNAVAILABLE, and nowhere else."""
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
    """A server that answers each call with the next of a list of codes, OK when it is used up; its address, the list, the calls."""
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
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": handler}),))
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


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL])
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
        for code, name in ((400, "INVALID_ARGUMENT"), (404, "NOT_FOUND"), (429, "RESOURCE_EXHAUSTED"), (500, "UNKNOWN"), (504, None)):
            codes[:], calls[:] = [code], []
            with pytest.raises(ServingError, match="not now") as caught:
                client.status()
            assert len(calls) == 1 and (name is None or caught.value.code.name in (name, "FAILED_PRECONDITION", "INTERNAL", "DATA_LOSS"))


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
