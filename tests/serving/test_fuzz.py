"""Whatever comes, the server answers, refuses in good order, and keeps its memory."""
import http.client
import json
import math
import random

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import classification_pb2, predict_pb2

from serving.client import GrpcClient
from serving.load import resident

FEW, MANY = 150, 3000
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much,
         HealthCheck.large_base_example,
         HealthCheck.data_too_large]
#: What a broken request may get; never INTERNAL or UNKNOWN.
FAIR = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED"}

scalars = st.none() | st.booleans() | st.integers(-2 ** 70, 2 ** 70) | st.floats() | st.text(max_size=8) | st.builds(
    lambda text: {"b64": text}, st.text(max_size=8))
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
    st.sampled_from(["x", "text", "flag", "big", "b64", "value", "inputs"]) | st.text(max_size=4), inner, max_size=4),
    max_leaves=12)
documents = st.fixed_dictionaries({}, optional={
    "signature_name": st.sampled_from(["serving_default", "mixed", "scalars", "classify", "regress"]) | values,
    "instances": values, "inputs": values, "context": values,
    "examples": st.lists(st.dictionaries(st.sampled_from(["v", "w"]), values, max_size=2), max_size=3)})
endings = st.sampled_from([":predict", ":classify", ":regress", "/versions/1:predict", "/labels/a:predict",
                           "/versions/0x1:predict", ":",
                           "/../../etc/passwd", "/metadata", "%00", "/versions/" + "9" * 40])


def numbers(count):
    """Two sizes of the same test: a quick one, and one that makes its part of ten thousand."""
    return pytest.mark.parametrize("count", [FEW, pytest.param(count, marks=pytest.mark.slow)])


def still_answers(toy):
    with GrpcClient(toy.grpc, "toy") as client:
        assert client.ask({"x": np.ones((1, 2), "float32")})["y"].tolist() == [[2, 2]]
    assert toy.server.core.under_way == 0


def fuzz(count, strategy, check):
    """Runs a check on so many inputs; how many there were."""
    asked = []

    @settings(max_examples=count, deadline=None, suppress_health_check=QUIET, database=None, derandomize=True)
    @given(strategy)
    def run(value):
        asked.append(1)
        check(value)

    before = resident()
    run()
    assert len(asked) >= count * 0.9
    assert resident() - before < 150, "memory grew"


@numbers(MANY)
def test_json_that_hardly_fits(toy, count):
    connection = http.client.HTTPConnection(toy.rest)

    def check(given_):
        ending, document = given_
        body = json.dumps(document) if not isinstance(document, bytes) else document
        connection.request("POST", "/v1/models/toy" + ending, body)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status in (200, 400, 404, 429, 501), (answer.status, text)
        if answer.status != 200 and text:
            assert json.loads(text)["error"]

    fuzz(count, st.tuples(endings, documents | values), check)
    still_answers(toy)


@numbers(2000)
def test_bytes_as_a_rest_body(toy, count):
    connection = http.client.HTTPConnection(toy.rest)
    good = json.dumps({"instances": [[1, 2], [3, 4]]}).encode()

    def check(given_):
        raw, packed = given_
        connection.request("POST", "/v1/models/toy:predict", raw, {"Content-Encoding": "gzip"} if packed else {})
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (200, 400)

    fuzz(count, st.tuples(st.binary(max_size=200) | mutations(good), st.booleans()), check)
    still_answers(toy)


def mutations(good: bytes):
    """A good message with some of its bytes replaced, cut out or doubled."""
    def mutate(seed):
        dice, result = random.Random(seed), bytearray(good)
        for _ in range(dice.randint(1, 6)):
            place = dice.randrange(len(result) or 1)
            kind = dice.randrange(3)
            if kind == 0 and result:
                result[place] = dice.randrange(256)
            elif kind == 1:
                del result[place:place + dice.randint(1, 5)]
            else:
                result[place:place] = result[place:place + dice.randint(1, 20)]
        return bytes(result)

    return st.integers(0, 2 ** 63).map(mutate)


def good_messages():
    predict = predict_pb2.PredictRequest()
    predict.model_spec.name = "toy"
    predict.inputs["x"].CopyFrom(tf.make_tensor_proto(np.ones((2, 2), "float32")))
    mixed = predict_pb2.PredictRequest()
    mixed.model_spec.name, mixed.model_spec.signature_name = "toy", "mixed"
    for name, value in (("text", np.array([b"a"], object)), ("flag", np.array([True])),
                        ("big", np.array([1], "int64"))):
        mixed.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    classify = classification_pb2.ClassificationRequest()
    classify.model_spec.name, classify.model_spec.signature_name = "toy", "classify"
    classify.input.example_list.examples.add().features.feature["v"].float_list.value.extend([1, 2])
    return {"Predict": [predict.SerializeToString(), mixed.SerializeToString()],
            "Classify": [classify.SerializeToString()]}


@numbers(3000)
def test_bytes_as_a_grpc_message(toy, count):
    good = good_messages()
    with grpc.insecure_channel(toy.grpc) as channel:
        calls = {name: channel.unary_unary(f"/tensorflow.serving.PredictionService/{name}")
                 for name in ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata")}

        def check(given_):
            name, raw = given_
            try:
                calls[name](raw, timeout=20)
            except grpc.RpcError as error:
                assert error.code().name in FAIR, (error.code(), error.details(), raw)

        every = [message for messages in good.values() for message in messages]
        fuzz(count, st.tuples(st.sampled_from(sorted(calls)),
                              st.binary(max_size=100) | st.one_of(*map(mutations, every))), check)
    still_answers(toy)


shapes = st.lists(st.sampled_from([-1, 0, 1, 2, 3, 1 << 20, 1 << 31, 1 << 62]), max_size=6)


@numbers(2500)
def test_tensors_of_any_type_shape_and_length(toy, count):
    fields = ("float_val", "double_val", "int_val", "int64_val", "bool_val", "string_val", "half_val", "uint32_val",
              "uint64_val",
              "scomplex_val")

    def check(given_):
        name, signature, number, shape, field, amount, content = given_
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "toy", signature
        tensor = request.inputs[name]
        tensor.dtype = number
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        getattr(tensor, field).extend([b"a" if field == "string_val" else 1] * amount)
        tensor.tensor_content = content
        with grpc.insecure_channel(toy.grpc) as channel:
            try:
                call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
                answer = call(request.SerializeToString(), timeout=20)
                requested = predict_pb2.PredictResponse.FromString(answer)
                assert requested.outputs and math.prod(shape) < 1 << 28
            except grpc.RpcError as error:
                assert error.code().name in FAIR, (error.code(), error.details(), request)

    fuzz(count, st.tuples(st.sampled_from(["x", "value", "inputs"]), st.sampled_from(["", "scalars", "classify"]),
                          st.integers(0, 25),
                          shapes, st.sampled_from(fields), st.integers(0, 5), st.binary(max_size=16)), check)
    still_answers(toy)
