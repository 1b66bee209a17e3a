"""A table's model behind TF Serving's protocol: columns by name, words as text, tf.train.Example messages."""
import grpc
import keras
import numpy as np
import pytest
import requests
import tensorflow as tf

import models
from export.targets import saved_model
from pipelines.errors import UserError
from pipelines.tasks.classes import softmax
from pipelines.tasks.tabular import Tabular
from pipelines.tools import load_test
from serving.client import GrpcClient, RestClient
from serving.embedded import serving
from serving.errors import ServingError
from tests.pipelines.tasks.tabular.conftest import data_of, write_people


@pytest.fixture(scope="module", params=["classification", "regression"])
def served(request, tmp_path_factory):
    """Yield a fresh model, its data, and where it is served."""
    folder = tmp_path_factory.mktemp("served")
    write_people(folder / "people.csv", 120)
    task = Tabular(problem=request.param)
    data = data_of(folder, task, *(("outcome", "price") if task.classifies else ("price", "outcome")))
    keras.utils.set_random_seed(0)
    model = models.build("mlp", **task.dimensions(data.index), units=(8,))
    saved_model.export(model, folder / "model" / "1", task.functions(model, data, "server"))
    with serving(folder / "model", "people") as running:
        yield model, data, running


ROW = {"age": 31.5, "year": 2003.0, "city": "Rome", "Is_member": "yes"}


def expected(model, data):
    inputs, _ = data.arrays("test", 5)
    return inputs, np.asarray(model({name: tf.constant(values) for name, values in inputs.items()})[data.task.output])


def answer_to(model, data, row):
    """Return what the model itself answers to a row of plain values."""
    learnt = data.index.learnt
    column = {name: np.array([learnt[name].names.index(value)], "int32") if isinstance(value, str)
              else np.array([value], "float32") for name, value in row.items()}
    return np.asarray(model(column)[data.task.output])[0]


def example_from(row):
    """Return a row of plain values, or lists of them, as an Example."""
    example = tf.train.Example()
    for name, value in row.items():
        values = value if isinstance(value, list) else [value]
        feature = example.features.feature[name]
        if isinstance(values[0], str):
            feature.bytes_list.value.extend(value.encode() for value in values)
        else:
            (feature.int64_list if isinstance(values[0], int) else feature.float_list).value.extend(values)
    return example


def post(running, call, document):
    return requests.post(f"http://{running.rest}/v1/models/people:{call}", json=document, timeout=10)


def example_of(sent, number):
    example = tf.train.Example()
    for name, values in sent.items():
        feature = example.features.feature[name]
        if values.dtype == object:
            feature.bytes_list.value.append(values[number])
        elif not np.isnan(values[number]):  # what is missing may be left out
            feature.float_list.value.append(float(values[number]))
    return example


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_columns_are_sent_by_name_and_words_as_text(served, protocol):
    model, data, running = served
    inputs, answers = expected(model, data)
    sent = data.sent(inputs)
    assert sent["city"].dtype == object and np.isnan(sent["age"]).any()
    client = GrpcClient(running.grpc, "people") if protocol == "grpc" else RestClient(running.rest, "people")
    with client:
        outputs = client.predict(sent)
    np.testing.assert_allclose(outputs[data.task.output], answers, rtol=1e-5, atol=1e-5)
    if data.task.classifies:
        np.testing.assert_allclose(outputs["scores"], softmax(answers), atol=1e-5)


@pytest.mark.parametrize("served", ["classification"], indirect=True)
@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_load_test_sends_words(served, protocol):
    _, data, running = served
    inputs, _ = data.arrays("train", 4)
    settings = load_test.LoadSettings(address=running.grpc if protocol == "grpc" else running.rest, model="people",
                                      protocol=protocol, rates=[20.0], seconds=0.5, objective=1000.0)
    result = load_test.run(settings, data.sent(inputs))
    assert result.steps[0]["answered"] == 10 and not result.steps[0]["errors"]


def test_a_row_is_sent_as_json_with_words(served):
    model, data, running = served
    row = {**ROW, "year": 2003}
    answer = post(running, "predict", {"instances": [row]})
    assert answer.status_code == 200, answer.text
    said = answer.json()["predictions"][0]
    np.testing.assert_allclose(said[data.task.output] if data.task.classifies else said, answer_to(model, data, row),
                               rtol=1e-5, atol=1e-5)


def test_examples_are_classified_or_regressed_over_both_protocols(served):
    model, data, running = served
    inputs, answers = expected(model, data)
    sent = data.sent(inputs)
    examples = [example_of(sent, number) for number in range(5)]
    as_json = [{name: values[number].decode() if values.dtype == object else float(values[number])
                for name, values in sent.items() if values.dtype == object or not np.isnan(values[number])}
               for number in range(5)]
    call = "classify" if data.task.classifies else "regress"
    with GrpcClient(running.grpc, "people") as client:
        over_grpc = getattr(client, call)(examples)
    response = post(running, call, {"signature_name": call, "examples": as_json})
    assert response.status_code == 200, response.text
    over_rest = response.json()["results"]
    if data.task.classifies:
        names = data.index.names("target")
        for row, rest, scores in zip(over_grpc, over_rest, softmax(answers), strict=True):
            assert [label for label, _ in row] == [names[number] for number in np.argsort(-scores)]
            assert [label for label, _ in rest] == [label for label, _ in row]
            np.testing.assert_allclose([score for _, score in row], np.sort(scores)[::-1], atol=1e-5)
    else:
        np.testing.assert_allclose(over_grpc, answers, rtol=1e-5)
        np.testing.assert_allclose(over_rest, answers, rtol=1e-5)


def test_a_word_that_nobody_knows_and_an_empty_one_are_answered(served):
    _, data, running = served
    rows = {"age": np.array([30.0, np.nan], "float32"), "year": np.array([2000, 2000], "float32"),
            "city": np.array([b"Atlantis", b""], object), "Is_member": np.array([b"yes", b"perhaps"], object)}
    with GrpcClient(running.grpc, "people") as client:
        assert np.isfinite(client.predict(rows)[data.task.output]).all()


@pytest.mark.parametrize(("change", "message"), [
    ({"age": "old"}, "Key: age, Index: 1.  Data types don't match. Data type: string but expected type: float"),
    ({"age": 31}, "Key: age, Index: 1.  Data types don't match. Data type: int64 but expected type: float"),
    ({"city": 7}, "Key: city, Index: 1.  Data types don't match. Data type: int64 but expected type: string"),
    ({"age": [1.0, 2.0]}, "Key: age, Index: 1.  Number of float values != expected.  Values size: 2")])
def test_examples_of_other_types_are_refused_in_a_line(served, change, message):
    _, data, running = served
    call = "classify" if data.task.classifies else "regress"
    rows = [ROW, {**ROW, **change}]
    with GrpcClient(running.grpc, "people") as client, pytest.raises(ServingError) as refused:
        getattr(client, call)([example_from(row) for row in rows])
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    response = post(running, call, {"signature_name": call, "examples": rows})
    assert response.status_code == 400
    for said in (refused.value.message, response.json()["error"]):
        assert message in said and "\n" not in said
    assert post(running, call, {"signature_name": call, "examples": [ROW]}).status_code == 200, "it goes on"


def test_what_an_example_leaves_out_is_missing(served):
    model, data, running = served
    call = "classify" if data.task.classifies else "regress"
    partial = {"year": 2003.0, "Is_member": "yes"}
    exact = answer_to(model, data, {**partial, "age": np.nan, "city": ""})
    expected = np.sort(softmax(exact[None])[0])[::-1] if data.task.classifies else exact
    with GrpcClient(running.grpc, "people") as client:
        answer, = getattr(client, call)([example_from(partial)])
    rest, = post(running, call, {"signature_name": call, "examples": [partial]}).json()["results"]
    for said in (answer, rest):
        np.testing.assert_allclose([score for _, score in said] if data.task.classifies else said, expected, rtol=1e-5)


@pytest.mark.parametrize(("change", "over_grpc", "over_rest"), [
    ({"age": None}, "Missing but required: {age}", "keys must be equal to: Is_member,age,city,year"),
    ({"age": "old"}, "to be float but string is provided", 'Type: String is not of expected type: float'),
    ({"age": 31}, "to be float but int64 is provided", "")])
def test_columns_that_lack_or_are_of_other_types_are_refused_in_a_line(served, change, over_grpc, over_rest):
    """A whole number in JSON is a number, since Predict knows what it wants."""
    _, _, running = served
    row = {name: value for name, value in {**ROW, **change}.items() if value is not None}
    inputs = {name: np.array([value.encode()], object) if isinstance(value, str)
              else np.array([value], "int64" if isinstance(value, int) else "float32") for name, value in row.items()}
    with GrpcClient(running.grpc, "people") as client, pytest.raises(ServingError) as refused:
        client.predict(inputs)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert over_grpc in refused.value.message and "\n" not in refused.value.message
    response = post(running, "predict", {"instances": [row]})
    assert response.status_code == (400 if over_rest else 200)
    assert not over_rest or (over_rest in response.json()["error"] and "\n" not in response.json()["error"])


def test_a_missing_number_is_written_as_nan_in_json(served):
    model, data, running = served
    body = '{"instances": [{"age": NaN, "year": 2003, "city": "Rome", "Is_member": "yes"}]}'
    response = requests.post(f"http://{running.rest}/v1/models/people:predict", data=body, timeout=10)
    assert response.status_code == 200, response.text
    said = response.json()["predictions"][0]
    np.testing.assert_allclose(said[data.task.output] if data.task.classifies else said,
                               answer_to(model, data, {**ROW, "age": np.nan}), rtol=1e-5, atol=1e-5)


def test_a_number_in_the_units_of_the_data_is_learnt_on_standardized_ones(tmp_path):
    """The loss of the mean is 1, whatever the units are."""
    write_people(tmp_path / "people.csv", 120)
    task = Tabular(problem="regression")
    data = data_of(tmp_path, task, "price", "outcome")
    from pipelines.training.losses import Loss

    _, targets = data.arrays("train", data.index.splits["train"].examples)
    mean = np.full_like(targets["target"], data.index.learnt["target"].statistics["mean"][0])
    loss = task.objective(Loss.read("mse"), data.index)({}, targets, {"value": mean})
    assert float(np.mean(loss)) == pytest.approx(1, rel=1e-4)


def test_a_row_without_a_target_is_named(tmp_path):
    for problem, target, ignored in (("classification", "outcome", "price"), ("regression", "price", "outcome")):
        write_people(tmp_path / "people.csv", 20)
        lines = (tmp_path / "people.csv").read_text().splitlines()
        fields = lines[3].split(",")
        fields[4:] = ["", ""]
        (tmp_path / "people.csv").write_text("\n".join([*lines[:3], ",".join(fields), *lines[4:]]))
        with pytest.raises(UserError, match=r"^data: people\.csv row 3 (has no value of the target|lacks a number)"):
            data_of(tmp_path, Tabular(problem=problem), target, ignored)


def test_rows_may_have_an_identifier(tmp_path):
    write_people(tmp_path / "people.csv", 30)
    header, *lines = (tmp_path / "people.csv").read_text().splitlines()
    numbered = [f"id,{header}", *(f"p{number},{line}" for number, line in enumerate(lines))]
    (tmp_path / "people.csv").write_text("\n".join(numbered))
    data = data_of(tmp_path, Tabular(), "outcome", "price")
    assert list(data.index.inputs) == ["age", "year", "city", "Is_member"] and data.index.splits["train"].examples > 20


def test_a_device_may_take_all_columns_as_one_vector(tmp_path):
    write_people(tmp_path / "people.csv", 120)
    named = data_of(tmp_path, Tabular(), "outcome", "price")
    model = models.build("mlp", **named.task.dimensions(named.index), units=(8,))
    inputs, _ = named.arrays("test", 6)
    by_name, = named.task.functions(model, named, "device")
    by_vector, = Tabular(vector=True).functions(model, named, "device")
    tensor, = by_vector.signature.inputs
    assert tensor.shape == (4,) and [part.name for part in tensor.parts] == list(inputs)
    vector = by_vector.signature.fit(inputs)
    np.testing.assert_array_equal(vector["columns"][:, 2], inputs["city"])
    np.testing.assert_allclose(by_vector.call(**vector)["logits"], by_name.call(**inputs)["logits"], atol=1e-6)
