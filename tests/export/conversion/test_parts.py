"""Parts of a network by the operators that they are, on one that has all of them."""
import keras
import numpy as np
import pytest

from export.conversion import convert, int8, parts
from export.keras_models import graph
from export.keras_models.for_delegates import for_delegates
from export.signature import Signature, Tensor
from export.tflite import file as tflite_file
from export.tflite.trace import Trace

INPUTS = (Tensor(name="noise", dtype="float32", shape=(4, 4, 2)), Tensor(name="step", dtype="float32", shape=()))
SIGNATURE = Signature(inputs=INPUTS, outputs=(Tensor(name="said", dtype="float32", shape=(4, 4, 2)),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    keras.utils.set_random_seed(0)
    noise, step = keras.Input((4, 4, 2), name="noise"), keras.Input((), name="step")
    waves = keras.ops.sin(keras.layers.Reshape((1,))(step) * np.array([[1.0, 0.1, 0.01]], "float32"))
    known = keras.layers.Reshape((1, 1, 6))(keras.layers.Dense(6)(waves))
    x = keras.layers.Conv2D(6, 3, padding="same")(noise)
    x = keras.layers.GroupNormalization(2)(keras.layers.Add()([x, known]))
    flat = keras.layers.Reshape((16, 6))(keras.layers.Conv2D(6, 3, padding="same")(x))
    scores = keras.layers.Softmax()(keras.layers.Dot(axes=2)([flat, flat]))
    x = keras.layers.Reshape((4, 4, 6))(keras.layers.Dot(axes=(2, 1))([scores, flat]))
    model = keras.Model({"noise": noise, "step": step}, {"said": keras.layers.Conv2D(2, 3, padding="same")(x)})
    folder = tmp_path_factory.mktemp("parts") / "graph"
    convert.float_graph(model, lambda one: [graph.function(for_delegates(one), SIGNATURE)], folder)
    return folder


@pytest.fixture(scope="module")
def content(folder):
    return convert.convert(folder, "float32")


def kinds(content, *chosen):
    steps = Trace(content).steps
    return [steps[number].operator for number in parts.operators(content, chosen)]


def test_each_part_is_found_by_its_operators(content):
    assert kinds(content, "ends") == ["CONV_2D"] * 2
    assert sorted(kinds(content, "attention")) == ["BATCH_MATMUL", "BATCH_MATMUL", "SOFTMAX"]
    conditions = kinds(content, "conditions")
    assert "SIN" in conditions and "FULLY_CONNECTED" in conditions and "CONV_2D" not in conditions
    normalization = kinds(content, "normalization")
    assert {"MEAN", "RSQRT"} <= set(normalization) and "CONV_2D" not in normalization
    every = parts.operators(content, ("conditions", "normalization", "attention", "ends"))
    assert every == sorted(set(every)) and len(every) == 2 + 3 + len(conditions) + len(normalization)


def test_parts_stay_float_and_the_rest_becomes_integers(folder, content):
    random = np.random.default_rng(0)
    inputs = {"noise": random.normal(size=(30, 4, 4, 2)).astype("float32"),
              "step": random.integers(1, 1000, 30).astype("float32")}
    calibrated = int8.calibrate(folder, [("serving_default", inputs)], apart=True)
    few = {name: values[:10] for name, values in inputs.items()}
    errors = []
    for chosen in ((), ("conditions", "normalization")):
        kept = parts.operators(calibrated, chosen)
        made = int8.quantize(calibrated, keep_float=kept, integer_io=False)
        exact, rounded = Trace(content), Trace(made)
        total = 0.0
        for row in range(10):
            one = {name: values[row:row + 1] for name, values in few.items()}
            exact.run(one)
            rounded.run(one)
            total += np.square(exact.real(exact.steps[-1].output) - rounded.real(rounded.steps[-1].output)).mean()
        errors.append(total)
        assert ("RSQRT" in tflite_file.float_operators(made)) == bool(chosen)
    assert errors[1] < errors[0] / 2
