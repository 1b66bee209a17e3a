"""Full-integer quantization step by step: what is changed is changed, and nothing else is lost."""
import numpy as np
import pytest

from export.conversion import bias_correction, convert, int8
from export.keras_models import file as keras_file
from export.predictors import LiteRTPredictor
from export.signature import DEFAULT
from export.tflite import file as tflite_file
from export.tflite import signatures
from export.tflite.explain import layer_errors


@pytest.fixture(scope="module")
def graph(run, functions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph") / "graph"
    convert.float_graph(keras_file.load(run / "train" / "model.keras"), functions, folder)
    return folder


@pytest.fixture(scope="module")
def calibration(digits):
    return [(DEFAULT, {"image": digits["train"][0][:200]})]


@pytest.fixture(scope="module")
def calibrated(graph, calibration):
    return int8.calibrate(graph, calibration)


def accuracy(content, digits, folder):
    path = folder / "model.tflite"
    path.write_bytes(content)
    images, labels = digits["test"]
    return float((LiteRTPredictor(path).predict({"image": images})["logits"].argmax(axis=1) == labels).mean())


def test_calibrating_and_quantizing_by_hand_is_what_the_converter_does(calibrated, calibration, graph, digits,
                                                                       tmp_path):
    by_hand = int8.quantize(calibrated)
    assert not tflite_file.float_tensors(by_hand)
    whole = convert.convert(graph, "int8", calibration)
    assert [signatures.main(content).input.dtype for content in (by_hand, whole)] == ["uint8", "uint8"]
    images = digits["test"][0][:100]
    logits = []
    for content in (by_hand, whole):
        (tmp_path / "model.tflite").write_bytes(content)
        logits.append(LiteRTPredictor(tmp_path / "model.tflite").predict({"image": images})["logits"])
    np.testing.assert_array_equal(*logits)


def test_operators_that_are_kept_float_are_float_and_come_closer(calibrated, graph, digits, tmp_path):
    kept = int8.quantize(calibrated, keep_float=[1, 2])
    assert any(tensor.type == 1 for tensor in tflite_file.read(kept).subgraphs[0].tensors), "weights in float16"
    operators = tflite_file.operators(kept)
    assert operators["CONV_2D"] == tflite_file.operators(int8.quantize(calibrated))["CONV_2D"]
    assert operators["QUANTIZE"] >= 2
    assert accuracy(kept, digits, tmp_path) >= accuracy(int8.quantize(calibrated), digits, tmp_path) - 0.01


def test_an_operator_that_is_not_there_cannot_be_kept(calibrated):
    with pytest.raises(ValueError, match=r"there is no operator 99; the model has \d+"):
        int8.quantize(calibrated, keep_float=[99])


def test_one_scale_for_all_channels_is_smaller_and_coarser(graph, digits, calibrated):
    per_channel, per_tensor = int8.quantize(calibrated), int8.quantize(calibrated, per_channel=False)
    assert len(per_tensor) < len(per_channel)
    exact, inputs = convert.convert(graph, "float32"), {"image": digits["test"][0][:32]}
    noise = [sum(one.added for one in layer_errors(content, exact, inputs)) for content in (per_channel, per_tensor)]
    assert noise[0] < noise[1]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_range_is_the_best_of_all_that_can_be_tried(seed):
    """Against brute force on the values themselves: a bell with a few outliers."""
    values = np.concatenate([np.random.default_rng(seed).normal(size=20_000), [14.0, -9.0]])
    low, high = values.min(), values.max()
    small, large = int8.best_range(np.histogram(values, 2048, (low, high))[0], low, high)

    def loss(share):
        first, last = low * share, high * share
        step = (last - first) / 255
        rounded = np.clip(np.round((values - first) / step), 0, 255) * step + first
        return ((values - rounded) ** 2).mean()

    losses = {share: loss(share) for share in np.linspace(0.2, 1, 81)}
    assert large < high and small > low
    assert loss(large / high) <= 1.05 * min(losses.values())


def test_a_flat_distribution_keeps_its_range():
    assert int8.best_range(np.ones(2048), -1.0, 1.0) == (-1.0, 1.0)


def test_best_ranges_clip_and_still_answer(calibrated, digits, tmp_path):
    best = int8.with_best_ranges(calibrated, {"image": digits["train"][0][:100]})
    widths = []
    for content in (calibrated, best):
        tensors = tflite_file.read(content).subgraphs[0].tensors
        widths.append(sum(float(tensor.quantization.max[0] - tensor.quantization.min[0]) for tensor in tensors
                          if tensor.quantization is not None and tensor.quantization.min is not None))
    assert widths[1] < widths[0]
    before, after = (accuracy(int8.quantize(content), digits, tmp_path) for content in (calibrated, best))
    assert after >= before - 0.02


def test_corrected_biases_bring_the_means_of_the_logits_back(graph, digits, calibrated, tmp_path):
    """Weights of one scale shift the outputs on average; the correction takes most of that back."""
    inputs = {"image": digits["train"][0][:64]}
    content, exact = int8.quantize(calibrated, per_channel=False), convert.convert(graph, "float32")
    model = tflite_file.read(content)
    operator = next(one for name, one in tflite_file.own_operators(model) if name == "CONV_2D")
    bias = model.subgraphs[0].tensors[operator.inputs[2]]
    values = tflite_file.constant(model, bias).copy()
    model.buffers[bias.buffer].data = np.frombuffer((values + 2000).astype("int32").tobytes(), "uint8")

    def means(content):
        (tmp_path / "model.tflite").write_bytes(content)
        return LiteRTPredictor(tmp_path / "model.tflite").predict(inputs)["logits"].mean(axis=0)

    harmed, expected = tflite_file.write(model), means(exact)
    corrected = bias_correction.corrected(harmed, exact, inputs)
    before, after = np.abs(means(harmed) - expected).mean(), np.abs(means(corrected) - expected).mean()
    assert after < 0.25 * before
