"""The gRPC API answers and refuses as TF Serving's does."""
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.client import GrpcClient
from serving.errors import ServingError

ROWS = np.array([[1, 2], [3, 4]], "float32")


@pytest.fixture
def channel(toy):
    with grpc.insecure_channel(toy.grpc) as channel:
        yield channel


@pytest.fixture
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture
def client(toy):
    with GrpcClient(toy.grpc, "toy", retry=False) as client:
        yield client


def request(values=ROWS, name="toy", key="x", **spec):
    made = predict_pb2.PredictRequest()
    made.model_spec.name = name
    for field, value in spec.items():
        if field == "version":
            made.model_spec.version.value = value
        else:
            setattr(made.model_spec, field, value)
    made.inputs[key].CopyFrom(tf.make_tensor_proto(values))
    return made


def refused(call, asked):
    with pytest.raises(grpc.RpcError) as caught:
        call(asked)
    return caught.value.code().name, caught.value.details()


def test_predict_answers_with_values_and_says_who_answered(stub):
    answer = stub.Predict(request())
    assert list(answer.outputs["y"].float_val) == [2, 3, 4, 5]
    assert [dim.size for dim in answer.outputs["y"].tensor_shape.dim] == [2, 2]
    assert list(answer.outputs["s"].float_val) == [3, 7]
    assert (answer.model_spec.name, answer.model_spec.version.value,
            answer.model_spec.signature_name) == ("toy", 1, "serving_default")


def test_an_output_filter_is_followed(stub):
    asked = request()
    asked.output_filter.append("s")
    assert set(stub.Predict(asked).outputs) == {"s"}
    asked.output_filter[:] = ["nope"]
    assert refused(stub.Predict, asked) == ("INVALID_ARGUMENT", "output tensor alias not found in signature: nope "
                                                                "Outputs expected to be "
                                                                "in the set {s,y}.")
    asked.output_filter[:] = ["s", "s"]
    assert refused(stub.Predict, asked) == ("INVALID_ARGUMENT", "duplicate output tensor alias: s")


@pytest.mark.parametrize("asked, code, words", [
    (request(name="nope"), "NOT_FOUND", "Servable not found for request: Latest(nope)"),
    (request(version=7), "NOT_FOUND", "Servable not found for request: Specific(toy, 7)"),
    (request(version_label="stable"), "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
    (request(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    (request(signature_name="nope"), "FAILED_PRECONDITION", 'Serving signature key "nope" not found.'),
    (request(key="z"), "INVALID_ARGUMENT", "input size does not match signature: 1!=1 len({z}) != len({x}). Sent "
                                           "extra: {z}. Missing but "
                                           "required: {x}."),
    (request(ROWS.astype("int64")), "INVALID_ARGUMENT", "Expects arg[0] to be float but int64 is provided"),
])
def test_refusals_have_the_originals_codes_and_words(stub, asked, code, words):
    assert refused(stub.Predict, asked) == (code, words)


def test_another_shape_than_the_signatures_is_the_graphs_to_take_or_to_refuse(stub):
    answer = stub.Predict(request(ROWS[:, :1]))
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["y"]), ROWS[:, :1] + 1)
    code, words = refused(stub.Predict, request(ROWS[0]))
    assert code == "INVALID_ARGUMENT" and "Invalid reduction dimension" in words and "\n" not in words


def test_a_message_that_promises_gigabytes_is_refused_before_anything_is_allocated(stub):
    asked = request()
    huge = asked.inputs["x"]
    huge.Clear()
    huge.dtype = 1
    huge.float_val.append(1.0)
    for size in (1 << 30, 2):
        huge.tensor_shape.dim.add(size=size)
    code, words = refused(stub.Predict, asked)
    assert code == "INVALID_ARGUMENT" and "promises 8,589,934,592 bytes" in words


def test_a_short_list_of_values_is_filled_with_its_last(stub):
    asked = request()
    asked.inputs["x"].Clear()
    asked.inputs["x"].dtype = 1
    asked.inputs["x"].float_val.extend([1, 2])
    for size in (2, 2):
        asked.inputs["x"].tensor_shape.dim.add(size=size)
    assert list(stub.Predict(asked).outputs["y"].float_val) == [2, 3, 3, 3]


def test_bytes_that_are_no_message_are_an_invalid_argument(channel):
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    assert refused(call, b"\xff\xff\xff\xff") == ("INVALID_ARGUMENT", "The request is not a PredictRequest message")


def test_types_come_through_unchanged(toy):
    with GrpcClient(toy.grpc, "toy", signature="mixed") as client:
        result = client.ask({"text": np.array([b"caf\xc3\xa9", b"\xff\x00"], object), "flag": np.array([True, False]),
                            "big": np.array([2 ** 62, -3], "int64")})
    assert result["text"].tolist() == [b"caf\xc3\xa9", b"\xff\x00"]
    assert result["flag"].tolist() == [False, True]
    assert result["big"].tolist() == [2 ** 62 + 1, -2]
    assert result["half"].dtype == np.float16 and result["half"][1] == -3


def examples(*rows):
    result = []
    for row in rows:
        one = tf.train.Example()
        one.features.feature["v"].float_list.value.extend(row)
        result.append(one)
    return result


def test_classify_and_regress_take_examples(client):
    assert client.classify(examples([1, 2], [3, 4])) == [[("a", 2.0), ("b", 3.0)], [("a", 4.0), ("b", 5.0)]]
    assert client.regress(examples([1, 2], [3, 4])) == [4.0, 8.0]
    with pytest.raises(ServingError, match="Input is empty"):
        client.classify([])
    with pytest.raises(ServingError, match="No classification inputs found"):
        client.classify(examples([1, 2]), signature="serving_default")


def test_a_context_is_merged_into_each_example(stub):
    asked = regression_pb2.RegressionRequest()
    asked.model_spec.name, asked.model_spec.signature_name = "toy", "regress"
    asked.input.example_list_with_context.context.CopyFrom(examples([5, 6])[0])
    asked.input.example_list_with_context.examples.add()
    asked.input.example_list_with_context.examples.append(examples([1, 1])[0])
    assert [one.value for one in stub.Regress(asked).result.regressions] == [12.0, 3.0]


def multi(*tasks):
    asked = inference_pb2.MultiInferenceRequest()
    asked.input.example_list.examples.extend(examples([1, 2]))
    for name, signature, method in tasks:
        task = asked.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = name, signature
    return asked


def test_multi_inference_asks_several_signatures(stub):
    answer = stub.MultiInference(multi(("toy", "classify", "classify"), ("toy", "regress", "regress")))
    assert answer.results[0].classification_result.classifications[0].classes[1].score == 3.0
    assert answer.results[1].regression_result.regressions[0].value == 4.0
    assert "same model name" in refused(stub.MultiInference,
                                        multi(("toy", "classify", "classify"), ("no", "regress", "regress")))[1]
    assert "Duplicate evaluation" in refused(stub.MultiInference,
                                             multi(("toy", "regress", "regress"), ("toy", "regress", "regress")))[1]
    assert refused(stub.MultiInference, multi(("toy", "regress", "predict")))[0] == "UNIMPLEMENTED"


def test_metadata_holds_every_signature(stub, client):
    assert set(client.metadata()) == {"serving_default", "mixed", "scalars", "classify", "regress"}
    asked = get_model_metadata_pb2.GetModelMetadataRequest()
    assert refused(stub.GetModelMetadata, asked) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    asked.model_spec.name = "toy"
    assert refused(stub.GetModelMetadata,
                   asked)[1] == "GetModelMetadataRequest must specify at least one metadata_field"
    asked.metadata_field.append("other")
    assert refused(stub.GetModelMetadata, asked)[1] == "Metadata field other is not supported"


def test_status_and_reload_of_what_is_not_there(channel, client):
    assert client.status() == {1: "AVAILABLE"}
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = "nope"
    assert refused(models.GetModelStatus, asked) == ("NOT_FOUND", "Could not find any versions of model nope")
    asked.model_spec.name, asked.model_spec.version.value = "toy", 9
    assert refused(models.GetModelStatus, asked) == ("NOT_FOUND", "Could not find version 9 of model toy")
    assert refused(models.HandleReloadConfigRequest,
                   model_management_pb2.ReloadConfigRequest())[0] == "INVALID_ARGUMENT"


def test_health_and_reflection_are_the_standard_ones(channel):
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "tensorflow.serving.PredictionService"):
        checked = health.Check(health_pb2.HealthCheckRequest(service=name))
        assert checked.status == health_pb2.HealthCheckResponse.SERVING
    services = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService",
            "grpc.health.v1.Health"} <= set(services)


def test_the_profiler_is_tensorflows_own(toy, stub, tmp_path):
    ended = threading.Event()

    def keep_asking():
        while not ended.is_set():
            stub.Predict(request())

    thread = threading.Thread(target=keep_asking)
    thread.start()
    try:
        tf.profiler.experimental.client.trace(f"grpc://{toy.grpc}", str(tmp_path), duration_ms=500,
                                              num_tracing_attempts=3)
    finally:
        ended.set()
        thread.join()
    assert list(tmp_path.rglob("*.xplane.pb"))
