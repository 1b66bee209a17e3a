"""Models of segmentation beside the U-Net: against their papers, and on their way to what ships."""
import keras
import numpy as np
import pytest

import models
from export.compression import qat
from export.conversion import convert
from export.keras_models import bridge, graph
from export.predictors import LiteRTPredictor
from export.signature import DEFAULT, Signature, Tensor
from export.tflite import file as tflite_file
from models import backbones
from pipelines.training.weights import Weights

LIGHT = {"mobilenet_v2": {"alpha": 0.35}}
LITTLE = {"mobilenet_v3_small": {"alpha": 0.35}}
#: A small one of each, at sizes that no stride divides.
SMALL = {"deeplabv3plus": {"backbone": LIGHT, "filters": 16, "boundary_filters": 8, "rates": [1, 2]},
         "lraspp": {"backbone": LITTLE, "filters": 8}, "fcn": {"backbone": LIGHT, "units": 8, "kernel": 3},
         "attention_unet": {"width": 4, "depth": 2}, "unet_plus_plus": {"width": 4, "depth": 2, "batch_norm": True}}
SIZE, CLASSES = (45, 70, 3), 4
PIXELS = np.random.default_rng(0).integers(0, 256, (8, *SIZE)).astype("float32")
SIGNATURE = Signature(inputs=(Tensor(name="image", dtype="float32", shape=SIZE, role="image"),),
                      outputs=(Tensor(name="logits", dtype="float32", shape=(*SIZE[:2], CLASSES), role="logits"),))
CALIBRATION = [(DEFAULT, {"image": PIXELS.astype("uint8")})]


def small(name, classes=CLASSES, **settings):
    """Return a small model of shaken normalizations, so that they change something."""
    keras.utils.set_random_seed(2)
    model = models.build(name, input_shape=SIZE, classes=classes, **{**SMALL[name], **settings})
    model = models.cut(model, ["logits"])
    generator = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.7, 1.3, weight.shape) for weight in layer.get_weights()])
        elif "class_maps" in layer.name:  # those of FCN's finer levels begin as zeros
            layer.set_weights([generator.normal(0, 0.2, weight.shape) for weight in layer.get_weights()])
    return model


def answered(model):
    outputs = model(PIXELS, training=False)
    return np.asarray(outputs["logits"] if isinstance(outputs, dict) else outputs)


def trained(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def test_deeplab_on_resnet50_has_the_parts_of_another_implementation():
    """The separable pyramid and decoder of segmentation_models_pytorch on ResNet-50 have 26,682,725 parameters at 21
    classes. Those of Keras' ResNet-50 have biases, and depthwise convolutions have a normalization here, as the
    authors' have."""
    model = models.build("deeplabv3plus", input_shape=(65, 65, 3), classes=21, backbone="resnet50")
    biases = sum(layer.bias.shape[0] for layer in backbones.inside(model).layers
                 if isinstance(layer, keras.layers.Conv2D))
    norms = 2 * (3 * 2048 + 304 + 256)
    assert biases == 26_560 and trained(model) == 26_682_725 + biases + norms


def test_deeplab_on_mobilenet_has_what_that_paper_counts_for_it():
    """Sandler et al. 2018, table 7: DeepLabv3 on MobileNetV2 up to its second last map has 4.52 M parameters."""
    model = models.build("deeplabv3plus", input_shape=(65, 65, 3), classes=21, separable=False)
    joined = next(layer for layer in model.layers if isinstance(layer, keras.layers.Concatenate)
                  and layer.output.shape[-1] == 5 * 256)
    pyramid = keras.Model(model.input, joined.output)
    projected = 5 * 256 * 256 + 2 * 256
    scores = 256 * 21 + 21
    assert trained(pyramid) + projected + scores == pytest.approx(4.52e6, rel=0.001)


@pytest.mark.parametrize(("stride", "expected"), [(16, [6, 12, 18]), (8, [12, 24, 36])])
def test_holes_double_where_the_map_is_twice_as_fine(stride, expected):
    model = models.build("deeplabv3plus", input_shape=(64, 96, 3), classes=3, backbone=LIGHT, output_stride=stride)
    part = backbones.inside(model)
    assert [tuple(mark.shape[1:3]) for mark in part.outputs] == [(16, 24), (64 // stride, 96 // stride)]
    inner = {layer.name for layer in part.layers}
    rates = [layer.dilation_rate[0] for layer in model.layers
             if isinstance(layer, keras.layers.DepthwiseConv2D) and layer.name not in inner]
    assert rates == [*expected, 1, 1]


def test_boundaries_may_come_from_half_of_the_resolution():
    model = models.build("deeplabv3plus", input_shape=(64, 96, 3), classes=3, boundary_stride=2, output_stride=8,
                         backbone={"mobilenet_v2": {"alpha": 0.35, "skip_halvings": 2}})
    assert [tuple(mark.shape[1:3]) for mark in backbones.inside(model).outputs] == [(32, 48), (8, 12)]
    assert model.get_layer("class_maps").output.shape[1:] == (32, 48, 3)


def test_fcn_has_the_convolutions_that_dense_layers_become():
    vgg, fc6, fc7 = 14_714_688, 7 * 7 * 512 * 4096 + 4096, 4096 * 4096 + 4096
    scores = sum(channels * 21 + 21 for channels in (4096, 512, 512))
    assert vgg + fc6 + fc7 + scores == 134_368_127
    coarse = models.build("fcn", input_shape=(64, 64, 3), classes=21, stride=32, units=32)
    assert coarse.count_params() == vgg + 7 * 7 * 512 * 32 + 32 + 32 * 32 + 32 + 32 * 21 + 21


def test_the_finest_scores_of_fcn_are_those_of_its_stride():
    for stride, levels in ((32, [5]), (16, [4, 5]), (8, [3, 4, 5])):
        model = models.build("fcn", input_shape=(64, 64, 3), classes=2, **{**SMALL["fcn"], "stride": stride})
        scores = [layer.output.shape[1] for layer in model.layers if layer.name.startswith("class_maps")]
        assert sorted(scores) == sorted(64 // 2**level for level in levels)


def test_a_gate_of_attention_lets_a_share_of_the_skipped_maps_through():
    widths = [64, 128, 256, 512]
    plain = models.build("unet", input_shape=(32, 32, 1), classes=2, batch_norm=True).count_params()
    gates = sum(4 * width * width + 2 * width * width + width + width + 1 for width in widths)
    assert models.build("attention_unet", input_shape=(32, 32, 1), classes=2).count_params() == plain + gates
    model = small("attention_unet")
    gate = next(layer for layer in model.layers if isinstance(layer, keras.layers.Multiply))
    skipped, weight = keras.Model(model.input, list(gate.input))(PIXELS)
    assert weight.shape[-1] == 1 and 0 < np.min(weight) < np.max(weight) < 1
    np.testing.assert_allclose(keras.Model(model.input, gate.output)(PIXELS), np.asarray(skipped) * np.asarray(weight),
                               rtol=1e-5, atol=1e-6)


def test_a_nested_unet_holds_those_of_lesser_depth():
    model = models.build("unet_plus_plus", input_shape=(32, 32, 1), classes=2, width=4, depth=3)
    assert set(models.named_outputs(model)) == {"logits", "auxiliary_1", "auxiliary_2"}
    inner = models.cut(model, ["auxiliary_1"])
    shallow = models.build("unet", input_shape=(32, 32, 1), classes=2, width=4, depth=1)
    assert inner.count_params() == shallow.count_params()
    alone = models.build("unet_plus_plus", input_shape=(32, 32, 1), classes=2, width=4, depth=3, auxiliary=0)
    assert set(models.named_outputs(alone)) == {"logits"}
    assert alone.count_params() == models.cut(model, ["logits"]).count_params()


@pytest.mark.parametrize("name", SMALL)
def test_every_pixel_has_its_logits_and_a_saved_model_gives_the_same(name, tmp_path):
    model = small(name)
    logits = answered(model)
    assert logits.shape == (8, *SIZE[:2], CLASSES) and np.isfinite(logits).all() and logits.std() > 1e-3
    assert list(models.named_outputs(model)) == ["logits"]
    model.save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(answered(read), logits)
    assert (backbones.inside(read) is None) == ("backbone" not in SMALL[name])


@pytest.mark.parametrize("name", ["deeplabv3plus", "lraspp", "fcn"])
def test_images_below_what_the_backbone_halves_are_refused(name):
    with pytest.raises(ValueError, match=rf"{name} needs images of at least 32 x 32 pixels, got 24 x 40: set data"):
        models.build(name, input_shape=(24, 40, 3), classes=2, **SMALL[name])


@pytest.mark.parametrize("value, message", [
    ("resnet51", "no model builder is called 'resnet51'"), ("unet", "unet is no classifier of images"),
    ({"mobilenet_v2": {"alpa": 1}}, "mobilenet_v2 has no setting alpa"), ({}, "give one builder")])
def test_a_backbone_that_is_none_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        models.build("deeplabv3plus", input_shape=(64, 64, 3), classes=2, backbone=value)


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow) if name in ("lraspp", "fcn") else name for name in SMALL])
def test_it_crosses_the_bridge_both_ways(name):
    model = small(name)
    crossed = bridge.to_tf_keras(model)
    np.testing.assert_allclose(answered(crossed), answered(model), atol=1e-4)
    np.testing.assert_allclose(answered(bridge.to_keras(crossed)), answered(model), atol=1e-4)


def converted(model, folder, variants):
    """Return the files of a model, by variant."""
    convert.float_graph(model, lambda plain: [graph.function(plain, SIGNATURE)], folder / "graph")
    files = {}
    for variant in variants:
        content = convert.convert(folder / "graph", variant, CALIBRATION if variant == "int8" else None)
        files[variant] = folder / f"{variant}.tflite"
        files[variant].write_bytes(content)
    return files


@pytest.mark.parametrize("name", [
    "deeplabv3plus", *(pytest.param(name, marks=pytest.mark.slow) for name in SMALL if name != "deeplabv3plus")])
def test_its_files_have_built_in_operators_alone_and_give_what_it_gives(name, tmp_path):
    model = small(name)
    expected = answered(model)
    files = converted(model, tmp_path, ("float32", "int8"))
    for variant, path in files.items():
        used = tflite_file.operators(path.read_bytes())
        assert not [operator for operator in used if operator.startswith(("Flex", "CUSTOM"))], used
        # dilated convolutions are operators of their own, not detours over batches
        assert not {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"} & set(used)
        logits = LiteRTPredictor(path).predict({"image": PIXELS.astype("uint8")})["logits"]
        if variant == "float32":
            np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
        else:
            assert not tflite_file.float_operators(path.read_bytes())
            assert np.abs(logits - expected).mean() < 0.1 * expected.std()


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_it_learns_with_the_rounding_of_integers(name, tmp_path):
    aware = qat.prepare(small(name))
    for _ in range(3):  # the ranges of activations
        aware(PIXELS, training=True)
    expected = answered(aware)
    assert expected.shape == (8, *SIZE[:2], CLASSES) and np.isfinite(expected).all()
    qat.float_graph(aware, lambda plain: [graph.function(plain, SIGNATURE)], tmp_path / "graph")
    path = tmp_path / "int8.tflite"
    path.write_bytes(convert.convert(tmp_path / "graph", "int8", CALIBRATION))
    assert not tflite_file.float_operators(path.read_bytes())
    logits = LiteRTPredictor(path).predict({"image": PIXELS.astype("uint8")})["logits"]
    assert np.abs(logits - expected).mean() < 0.1 * expected.std()


@pytest.mark.parametrize("name", [
    "lraspp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("deeplabv3plus", "fcn"))])
def test_a_trained_segmenter_starts_one_with_other_classes(name, tmp_path):
    model = small(name)
    model.save(tmp_path / "model.keras")
    other = small(name, classes=7)
    for layer in backbones.inside(other).layers:
        layer.set_weights([np.zeros(weight.shape) for weight in layer.get_weights()])
    loaded = Weights.read({"file": str(tmp_path / "model.keras")}).load(other, name, {"backbone": "mobilenet_v2"})
    ours = [layer.name for layer in models.pretrained.weighted(other)]
    assert loaded == [layer for layer in ours if not layer.startswith("class_maps")]
