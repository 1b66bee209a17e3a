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
