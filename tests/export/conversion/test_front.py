"""The front of a model: numbers that are scaled in float, so that an integer file takes them as they are."""
import keras
import numpy as np
import pytest

from export.conversion import convert, front, int8
from export.keras_models import graph
from export.predictors import open_predictor
from export.signature import Signature, Tensor
from export.tflite.trace import Trace

COUNT = 200


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the folder of a graph of two numbers, one far from zero, its inputs, and what the model answers."""
    keras.utils.set_random_seed(0)
    year, share = keras.Input((1,), name="year"), keras.Input((1,), name="share")
    columns = []
    for tensor, mean, deviation in ((year, 2000.0, 5.0), (share, 0.1, 0.02)):
        scaled = (tensor - mean) * (1 / deviation)
        columns.append(keras.ops.where(keras.ops.not_equal(scaled, scaled), 0.5, scaled))
    x = keras.layers.Dense(16, "relu")(keras.layers.Concatenate()(columns))
    model = keras.Model({"year": year, "share": share}, {"value": keras.layers.Dense(1)(x)})
    inputs = {name: Tensor(name=name, dtype="float32", shape=(1,)) for name in ("year", "share")}
    signature = Signature(inputs=tuple(inputs.values()), outputs=(Tensor(name="value", dtype="float32", shape=(1,)),))
    folder = tmp_path_factory.mktemp("front") / "graph"
    convert.float_graph(model, lambda written: [graph.function(written, signature)], folder)
    generator = np.random.default_rng(0)
    given = {"year": generator.normal(2000, 5, (COUNT, 1)).astype("float32"),
             "share": generator.normal(0.1, 0.02, (COUNT, 1)).astype("float32")}
    given["share"][::9] = np.nan
    return folder, given, np.asarray(model.predict(given, verbose=0)["value"])


def test_the_front_ends_where_numbers_meet(model):
    folder, given, _ = model
    calibrated = int8.calibrate(folder, [("serving_default", given)])
    steps = Trace(calibrated).steps
    chosen = front.operators(calibrated)
    assert sorted(steps[number].operator for number in chosen) == sorted(["SUB", "MUL", "NOT_EQUAL", "SELECT_V2"] * 2)
    assert {step.operator for step in steps} - {steps[number].operator for number in chosen} == {
        "CONCATENATION", "FULLY_CONNECTED"}


def test_a_file_with_its_front_in_float_takes_years_and_missing_numbers(model, tmp_path):
    folder, given, expected = model
    calibrated = int8.calibrate(folder, [("serving_default", given)])
    files = {"front": int8.quantize(calibrated, keep_float=front.operators(calibrated)),
             "integer": int8.quantize(calibrated)}
    errors = {}
    for name, content in files.items():
        (tmp_path / f"{name}.tflite").write_bytes(content)
        with np.errstate(invalid="ignore"):
            answers = open_predictor(tmp_path / f"{name}.tflite").predict(given)["value"]
        errors[name] = abs(answers - expected).max() / expected.std()
    assert errors["front"] < 0.1 < 0.5 < errors["integer"]


@pytest.fixture(scope="module")
def levelled(tmp_path_factory):
    """Return the folder of a graph that adds a window's last number, in thousands, to what its network says in units;
    its calibration, and what the model answers."""
    keras.utils.set_random_seed(0)
    window = keras.Input((8,), name="window")
    level = window[:, -1:]
    x = keras.layers.Dense(4)(keras.layers.Dense(16, "relu")((window - level) * 0.5))
    model = keras.Model({"window": window}, {"ahead": (x + level) * 10.0 + 3.0})
    signature = Signature(inputs=(Tensor(name="window", dtype="float32", shape=(8,)),),
                          outputs=(Tensor(name="ahead", dtype="float32", shape=(4,)),))
    folder = tmp_path_factory.mktemp("levelled") / "graph"
    convert.float_graph(model, lambda written: [graph.function(written, signature)], folder)
    generator = np.random.default_rng(0)
    windows = generator.normal(0, 1, (COUNT, 8)) + generator.uniform(0, 5000, (COUNT, 1))
    given = {"window": windows.astype("float32")}
    return folder, [("serving_default", given)], np.asarray(model.predict(given, verbose=0)["ahead"])


def test_the_end_is_float_where_an_input_is_added_to_what_the_network_says(levelled, tmp_path):
    folder, ((_, given),), expected = levelled
    calibrated = int8.calibrate(folder, [("serving_default", given)], apart=True)
    steps = Trace(calibrated).steps
    kept = [steps[number].operator for number in sorted(front.operators(calibrated))]
    assert kept == ["STRIDED_SLICE", "SUB", "ADD", "MUL", "ADD"]
    (tmp_path / "end.tflite").write_bytes(int8.quantize(calibrated, keep_float=front.operators(calibrated)))
    answers = open_predictor(tmp_path / "end.tflite").predict(given)["ahead"]
    said = expected - 10 * given["window"][:, -1:] - 3
    assert abs(answers - expected).max() < said.std() / 10


def test_the_range_of_an_answer_is_not_that_of_what_is_added_to_it(levelled):
    folder, given, _ = levelled
    highest = {}
    for apart in (False, True):
        trace = Trace(int8.calibrate(folder, given, apart=apart))
        answer = [step.output for step in trace.steps if step.operator == "FULLY_CONNECTED"][-1]
        highest[apart] = float(trace.tensors[answer].quantization.max[0])
    assert highest[True] < 10 < 1000 < highest[False]  # the calibrator's own
