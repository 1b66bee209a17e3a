"""Operator by operator: the error that is measured is the error that is there, and the operator that was harmed is found."""
import math

import numpy as np
import pytest

from export.tflite import explain, profile
from export.tflite import file as tflite_file
from export.tflite.trace import Trace, pairs
from pipelines.ingest import Index, Source, pictures, stream

EIGHT = pictures.ImageSettings(size=8)


@pytest.fixture(scope="module")
def images(run):
    index = Index.model_validate_json((run / "ingest" / "index.json").read_bytes())
    return stream.arrays(stream.examples(Source.read("digits"), index, EIGHT, "test").take(24))[0]


@pytest.fixture(scope="module")
def files(run):
    return {name: (run / "export" / "litert" / f"{name}.tflite").read_bytes() for name in ("float32", "int8")}


def test_the_same_operators_are_paired(files):
    found = pairs(Trace(files["float32"]), Trace(files["int8"]))
    assert len(found) == sum(tflite_file.operators(files["float32"]).values())
    assert all(one.operator == other.operator and one.shape == other.shape for one, other in found)


def test_the_ratio_is_that_of_the_logits_themselves(files, images):
    """The last operator's signal to noise ratio, computed again from what the two files answer."""
    last = explain.layer_errors(files["int8"], files["float32"], images)[-1]
    exact, rounded = Trace(files["float32"]), Trace(files["int8"])
    signal = noise = 0.0
    for image in images:
        exact.run(image)
        rounded.run(image)
        one, other = exact.real(exact.steps[-1].output), rounded.real(rounded.steps[-1].output)
        signal, noise = signal + (one.astype("float64") ** 2).sum(), noise + ((one.astype("float64") - other) ** 2).sum()
    assert last.sqnr == pytest.approx(10 * math.log10(signal / noise), abs=0.01)
    assert last.operator == "FULLY_CONNECTED" and last.shape == (1, 10)


def test_rounding_alone_makes_a_third_of_a_step(files, images):
    first = explain.layer_errors(files["int8"], files["float32"], images)[0]
    assert 0.2 < first.error_over_scale < 0.7
    assert first.saturated < 0.01


def harmed(content, number, change):
    """The file with the bias scale, or the output's scale, of an operator changed."""
    model = tflite_file.read(content)
    operators = [one for _, one in tflite_file.own_operators(model)]
    change(model, operators[number])
    return tflite_file.write(model)


def test_the_operator_that_was_harmed_adds_most(files, images):
    convolution = next(step.number for step in Trace(files["float32"]).steps[2:] if step.operator == "CONV_2D")

    def shuffle(model, operator):
        buffer = model.buffers[model.subgraphs[0].tensors[operator.inputs[1]].buffer]
        weights = np.frombuffer(bytes(buffer.data), "int8").astype("int16") + np.random.default_rng(0).integers(-40, 40, len(buffer.data))
        buffer.data = np.clip(weights, -127, 127).astype("int8").view("uint8")

    errors = explain.layer_errors(harmed(files["int8"], convolution, shuffle), files["float32"], images)
    worst = explain.worst(errors)
    assert worst[0].number == convolution
    assert f"operator {convolution}" in explain.advice(worst[0])


def test_a_range_that_is_too_small_shows_as_saturation(files, images):
    def halve(model, operator):
        quantization = model.subgraphs[0].tensors[operator.outputs[0]].quantization
        quantization.scale = (np.asarray(quantization.scale) / 4).astype("float32")

    last = len(Trace(files["float32"]).steps) - 1
    errors = explain.layer_errors(harmed(files["int8"], last, halve), files["float32"], images)
    assert errors[-1].saturated > 0.05
    assert "cut off" in explain.advice(errors[-1])


def test_files_of_two_models_are_refused(files, images, tmp_path):
    import keras

    from export.conversion import convert

    inputs = keras.Input((8, 8, 3))
    convert.float_graph(keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs))), tmp_path / "graph")
    with pytest.raises(ValueError, match="do not seem to be of one model"):
        explain.layer_errors(files["int8"], convert.convert(tmp_path / "graph", "float32"), images)


def test_operators_on_their_own_take_about_as_long_as_the_whole(files):
    from export.benchmark import latency

    times = profile.operator_times(files["float32"], runs=100)
    assert [one.operator for one in times].count("CONV_2D") == tflite_file.operators(files["float32"])["CONV_2D"]
    trace = Trace(files["float32"])
    trace.run(np.zeros((8, 8, 3), "uint8"))
    assert all(one.ms > 0 for one in times)
    assert sum(profile.by_kind(times).values()) == pytest.approx(sum(one.ms for one in times))
    assert latency(lambda: None, runs=10, threads=1).p50 < sum(one.ms for one in times)


def test_the_reason_names_the_kind_that_gains_least():
    said = profile.why_slow({"CONV_2D": 0.3, "DEPTHWISE_CONV_2D": 0.1}, {"CONV_2D": 0.1, "DEPTHWISE_CONV_2D": 0.1})
    assert said.startswith("DEPTHWISE_CONV_2D takes 50% of its time and gains less than 1.5 times")
