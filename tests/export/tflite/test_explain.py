"""Operator by operator: the error that is measured is there, and the operator that was harmed is found."""
import math

import numpy as np
import pytest

from export.tflite import explain, profile
from export.tflite import file as tflite_file
from export.tflite.trace import Trace, pairs
from tests.export.predictors.conftest import converted, examples, saved, weights

__all__ = ["converted", "examples", "saved", "weights"]


@pytest.fixture(scope="module")
def inputs():
    """Real digits, 8 x 8 grey levels, as the small recipe's model was trained on."""
    from sklearn.datasets import load_digits

    return {"image": np.round(load_digits().images[:24, ..., None] * 255 / 16).astype("uint8")}


@pytest.fixture(scope="module")
def files(run):
    return {name: (run / "export" / "litert" / f"{name}.tflite").read_bytes() for name in ("float32", "int8")}


def test_the_same_operators_are_paired(files):
    result = pairs(Trace(files["float32"]), Trace(files["int8"]))
    assert len(result) == sum(tflite_file.operators(files["float32"]).values())
    assert all(one.operator == other.operator and one.shape == other.shape for one, other in result)


def test_the_ratio_is_that_of_the_logits_themselves(files, inputs):
    """The last operator's signal to noise ratio, computed again from what the two files answer."""
    last = explain.layer_errors(files["int8"], files["float32"], inputs)[-1]
    exact, rounded = Trace(files["float32"]), Trace(files["int8"])
    signal = noise = 0.0
    for image in inputs["image"]:
        exact.run({"image": image[None]})
        rounded.run({"image": image[None]})
        one, other = exact.real(exact.steps[-1].output).astype("float64"), rounded.real(rounded.steps[-1].output)
        signal, noise = signal + (one**2).sum(), noise + ((one - other) ** 2).sum()
    assert last.sqnr == pytest.approx(10 * math.log10(signal / noise), abs=0.01)
    assert last.operator == "FULLY_CONNECTED" and last.shape == (1, 10)


def test_rounding_alone_makes_a_third_of_a_step(files, inputs):
    first = explain.layer_errors(files["int8"], files["float32"], inputs)[0]
    assert 0.2 < first.error_over_scale < 0.7
    assert first.saturated < 0.01


def harmed(content, number, change):
    """The file with the bias scale, or the output's scale, of an operator changed."""
    model = tflite_file.read(content)
    operators = [one for _, one in tflite_file.own_operators(model)]
    change(model, operators[number])
    return tflite_file.write(model)


def test_the_operator_that_was_harmed_adds_most(files, inputs):
    convolution = next(step.number for step in Trace(files["float32"]).steps[2:] if step.operator == "CONV_2D")

    def shuffle(model, operator):
        buffer = model.buffers[model.subgraphs[0].tensors[operator.inputs[1]].buffer]
        weights = np.frombuffer(bytes(buffer.data), "int8").astype("int16")
        weights += np.random.default_rng(0).integers(-40, 40, len(weights)).astype("int16")
        buffer.data = np.clip(weights, -127, 127).astype("int8").view("uint8")

    errors = explain.layer_errors(harmed(files["int8"], convolution, shuffle), files["float32"], inputs)
    worst = explain.worst(errors)
    assert worst[0].number == convolution
    assert f"operator {convolution}" in explain.advice(worst[0])


def test_a_range_that_is_too_small_shows_as_saturation(files, inputs):
    def halve(model, operator):
        quantization = model.subgraphs[0].tensors[operator.outputs[0]].quantization
        quantization.scale = (np.asarray(quantization.scale) / 4).astype("float32")

    last = len(Trace(files["float32"]).steps) - 1
    errors = explain.layer_errors(harmed(files["int8"], last, halve), files["float32"], inputs)
    assert errors[-1].saturated > 0.05
    assert "cut off" in explain.advice(errors[-1])


def test_files_of_two_models_are_refused(files, inputs, converted):
    with pytest.raises(ValueError, match="do not seem to be of one model"):
        explain.layer_errors(files["int8"], converted["float32"].read_bytes(), inputs)


def test_a_file_of_several_inputs_is_explained_like_any_other(converted, examples):
    contents, inputs = {name: converted[name].read_bytes() for name in ("float32", "int8")}, examples(30, channels=1)
    exact, rounded = Trace(contents["float32"]), Trace(contents["int8"])
    errors = explain.layer_errors(contents["int8"], contents["float32"], inputs)
    assert [one.number for one in errors] == [step.number for step in exact.steps if step.operator != "RESHAPE"]
    ratios = {}
    for step, other in pairs(exact, rounded):
        signal = noise = 0.0
        for position in range(30):
            one = {name: value[position:position + 1] for name, value in inputs.items()}
            exact.run(one)
            rounded.run(one)
            value = exact.real(step.output).astype("float64")
            signal, noise = signal + (value**2).sum(), noise + ((value - rounded.real(other.output)) ** 2).sum()
        ratios[step.number] = 10 * math.log10(signal / noise)
    assert {one.number: one.sqnr for one in errors} == pytest.approx(ratios, abs=0.01)
    assert all(one.sqnr > 25 for one in errors)


def test_a_trace_names_the_input_that_does_not_fit(converted, examples):
    trace, inputs = Trace(converted["float32"].read_bytes()), examples(1)
    with pytest.raises(ValueError, match="the input age is missing"):
        trace.run({"image": inputs["image"]})
    with pytest.raises(ValueError, match=r"the input image is \(batch, 5, 6, 3\)"):
        trace.run({**inputs, "image": inputs["image"][:, :5]})


def test_a_trace_holds_what_the_file_gives(converted, examples, weights):
    trace, inputs = Trace(converted["float32"].read_bytes()), examples(1)
    trace.run(inputs)
    hours = next(step for step in trace.steps if step.operator == "FULLY_CONNECTED" and step.shape == (1, 2))
    np.testing.assert_allclose(trace.real(hours.output), inputs["age"] @ weights["hours"], rtol=1e-5)


@pytest.mark.timed
def test_operators_on_their_own_take_about_as_long_as_the_whole(files):
    from export.benchmark import latency

    times = profile.operator_times(files["float32"], runs=100)
    assert [one.operator for one in times].count("CONV_2D") == tflite_file.operators(files["float32"])["CONV_2D"]
    assert all(one.ms > 0 for one in times)
    assert sum(profile.by_kind(times).values()) == pytest.approx(sum(one.ms for one in times))
    assert latency(lambda: None, runs=10, threads=1).p50 < sum(one.ms for one in times)


def test_operators_that_are_handed_sizes_run_on_their_own():
    """Sizes that depend on how many examples there are: a reshape to random numbers would be none."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 3))])
    def network(x):
        return tf.reshape(x, (tf.shape(x)[0], 24)) @ tf.ones((24, 2))

    content = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()]).convert()
    times = profile.operator_times(content, runs=2)
    assert {"SHAPE", "STRIDED_SLICE", "PACK", "RESHAPE"} <= {one.operator for one in times}


def test_the_reason_names_the_kind_that_gains_least():
    message = profile.why_slow({"CONV_2D": 0.3, "DEPTHWISE_CONV_2D": 0.1}, {"CONV_2D": 0.1, "DEPTHWISE_CONV_2D": 0.1})
    assert message.startswith("DEPTHWISE_CONV_2D takes 50% of its time and gains less than 1.5 times")
