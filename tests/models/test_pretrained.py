"""Weights from elsewhere: what comes in computes what it computed where it comes from."""
import sys

import keras
import numpy as np
import pytest

import models
from models import backbones, pretrained
from models.adapt import adapted
from pipelines.training.hub_weights import KerasHub
from pipelines.training.transfer import Transfer
from pipelines.training.weights import Weights

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
LARGE = ["efficientnet_b0", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "resnet50", "resnet50_v2",
         "densenet121", "vgg16", "efficientnet_v2_b0", "efficientnet_v2_s"]


def randomized(network):
    """Weights as a training leaves them: kernels as initialized, statistics unlike those of a fresh network."""
    generator = np.random.default_rng(1)
    for layer in network.layers:
        if isinstance(layer, (keras.layers.BatchNormalization, keras.layers.Normalization)):
            layer.set_weights([generator.uniform(0.5, 1.5, weight.shape).astype(weight.dtype)
                               for weight in layer.get_weights()])
    return network


@pytest.mark.parametrize("name", [
    "mobilenet_v3_small", *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_imagenet_weights_compute_what_keras_applications_does(name, tmp_path):
    source = pretrained.APPLICATIONS[name]
    variant = {"minimalistic": False} if name.startswith("mobilenet_v3") else {}
    network = randomized(getattr(keras.applications, source.name)(include_top=False, weights=None, **variant))
    path = tmp_path / "notop.weights.h5"
    network.save_weights(path)
    module = {"tf": keras.applications.mobilenet_v2, "torch": keras.applications.densenet,
              "caffe": keras.applications.vgg16}
    scaled = module[source.pixels].preprocess_input(PIXELS.copy()) if source.pixels in module else PIXELS
    if name.startswith("mobilenet_v3"):
        scaled = PIXELS  # scales inside
    expected = network.predict(scaled, verbose=0)
    if name == "efficientnet_b0":  # keras.applications divides once more where it downloads ImageNet's weights
        layer = next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
        mean, variance, _ = layer.get_weights()
        inner = keras.Model(layer.output, network.output)
        expected = inner.predict((PIXELS / 255 - mean) / np.sqrt(variance) / np.sqrt([0.229, 0.224, 0.225]), verbose=0)

    keras.utils.set_random_seed(3)
    model = models.build(name, input_shape=(64, 64, 3), classes=5)
    settings = models.builder(name).settings()().model_dump()
    entry = Weights.read({"imagenet": str(path)})
    entry.suit(model, name, settings)
    loaded = entry.load(model, name, settings)
    assert "logits" not in loaded and len(loaded) == len([layer for layer in network.layers if layer.weights])
    result = models.features(model).predict(PIXELS, verbose=0)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_weights_of_layers_that_are_numbered_as_they_are_made_find_their_own(tmp_path):
    """Inception's layers are conv2d_1 and so on: another number in each model of a process."""
    network = randomized(keras.applications.InceptionV3(include_top=False, weights=None))
    network.save_weights(tmp_path / "notop.weights.h5")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype("float32")
    model = models.build("inception_v3", input_shape=(96, 96, 3), classes=5)
    loaded = Weights.read({"imagenet": str(tmp_path / "notop.weights.h5")}).load(
        model, "inception_v3", models.builder("inception_v3").settings()().model_dump())
    assert len(loaded) == len([layer for layer in network.layers if layer.weights])
    expected = network.predict(pixels / 127.5 - 1, verbose=0)
    np.testing.assert_allclose(models.features(model).predict(pixels, verbose=0), expected,
                               atol=2e-4 * np.abs(expected).max())


def test_a_layer_that_got_no_weights_is_noticed(tmp_path):
    network = keras.applications.MobileNetV2(include_top=False, alpha=0.35, weights=None, input_shape=(64, 64, 3))
    network.save_weights(tmp_path / "notop.weights.h5")
    pixels = keras.Input((64, 64, 3))
    more = keras.layers.Conv2D(3, 1, name="more")(keras.layers.Rescaling(1 / 255)(pixels))
    model = keras.Model(pixels, adapted(network, more))
    with pytest.raises(ValueError, match=r"this model has a layer more, \S+ has none"):
        Weights.read({"imagenet": str(tmp_path / "notop.weights.h5")}).load(
            model, "mobilenet_v2", {"alpha": 0.35})


@pytest.mark.parametrize(("name", "classifier"), [("resnet8", "logits"), ("squeezenet", "class_maps")])
def test_a_trained_model_starts_one_with_other_classes(tmp_path, name, classifier):
    trained = models.build(name, input_shape=(32, 32, 3), classes=10)
    trained.save(tmp_path / "model.keras")
    trained.save_weights(tmp_path / "model.weights.h5")
    for file in ("model.keras", "model.weights.h5"):
        model = models.build(name, input_shape=(48, 48, 3), classes=4)
        loaded = Weights.read({"file": str(tmp_path / file)}).load(model, name, {})
        names = [layer.name for layer in pretrained.weighted(model)]
        np.testing.assert_array_equal(model.layers[2].get_weights()[0], trained.layers[2].get_weights()[0])
        assert classifier in set(names) - set(loaded) and loaded[0] == names[0]


def on_a_backbone(name, levels=(3, 5)):
    """A model of places in an image: a classifier's maps, and a head of its own."""
    keras.utils.set_random_seed(3)
    base = models.backbone(name, (64, 64, 3), levels)
    head = keras.layers.Conv2D(5, 1, name="logits")(list(base.output.values())[-1])
    return keras.Model(base.input, {"logits": head, **{key: base.output[key] for key in list(base.output)[:-1]}})


@pytest.mark.parametrize("name", [
    "mobilenet_v3_small", *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_imagenet_weights_go_into_the_backbone_of_a_model(name, tmp_path):
    source = pretrained.APPLICATIONS[name]
    variant = {"minimalistic": False} if name.startswith("mobilenet_v3") else {}
    network = randomized(getattr(keras.applications, source.name)(include_top=False, weights=None, **variant))
    network.save_weights(tmp_path / "notop.weights.h5")
    entry = Weights.read({"imagenet": str(tmp_path / "notop.weights.h5")})
    classifier, model = models.build(name, input_shape=(64, 64, 3), classes=5), on_a_backbone(name)
    entry.suit(classifier, name, models.builder(name).settings()().model_dump())
    entry.suit(model, "detector", {"backbone": name})
    expected = entry.load(classifier, name, models.builder(name).settings()().model_dump())
    loaded = entry.load(model, "detector", {"backbone": name})
    assert len(loaded) == len(expected) and "logits" not in loaded
    assert set(loaded) <= {layer.name for layer in backbones.inside(model).layers}
    maps = backbones.inside(model)(PIXELS)  # from the first level on
    np.testing.assert_array_equal(np.asarray(maps[-1]), np.asarray(models.features(classifier)(PIXELS)))
    Transfer().freeze(model, loaded, 0.0)
    assert [layer.name for layer in model.layers if layer.trainable_variables] == ["logits"]


def test_imagenet_weights_are_for_the_settings_that_the_backbone_has(tmp_path):
    network = keras.applications.MobileNetV2(include_top=False, alpha=0.35, weights=None)
    network.save_weights(tmp_path / "notop.weights.h5")
    entry = Weights.read({"imagenet": str(tmp_path / "notop.weights.h5")})
    settings = {"backbone": {"mobilenet_v2": {"alpha": 0.35}}}
    model = on_a_backbone(settings["backbone"])
    assert "block_16_project" in entry.load(model, "detector", settings)
    with pytest.raises(ValueError, match="leave width out"):
        entry.suit(on_a_backbone("vgg11"), "detector", {"backbone": {"vgg16": {"width": 0.25}}})
    with pytest.raises(ValueError, match="no weights for resnet18"):
        entry.load(on_a_backbone("resnet18"), "detector", {"backbone": "resnet18"})


@pytest.mark.slow
def test_imagenet_weights_behind_the_last_level_are_left_out(tmp_path):
    network = randomized(keras.applications.MobileNetV2(include_top=False, weights=None))
    network.save_weights(tmp_path / "notop.weights.h5")
    model = on_a_backbone("mobilenet_v2", (3, 4))
    loaded = Weights.read({"imagenet": str(tmp_path / "notop.weights.h5")}).load(
        model, "detector", {"backbone": "mobilenet_v2"})
    assert loaded[-1] == "block_13_expand_BN"
    np.testing.assert_array_equal(model.get_layer("block_3_project").get_weights()[0],
                                  network.get_layer("block_3_project").get_weights()[0])


@pytest.mark.parametrize("name", [
    "resnet18", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mobilenet_v2", "googlenet"))])
@pytest.mark.parametrize("file", ["model.keras", "model.weights.h5"])
def test_a_trained_classifier_becomes_the_backbone_of_a_model(name, file, tmp_path):
    trained = models.cut(models.build(name, input_shape=(32, 32, 3), classes=10), ["logits"])
    (trained.save if file == "model.keras" else trained.save_weights)(tmp_path / file)
    model = on_a_backbone(name)
    loaded = Weights.read({"file": str(tmp_path / file)}).load(model, "detector", {"backbone": name})
    part = backbones.inside(model)
    assert loaded == [layer.name for layer in pretrained.weighted(part)] and "logits" not in loaded
    features = models.features(models.cut(models.build(name, input_shape=(64, 64, 3), classes=2), ["logits"]))
    features.set_weights(trained.get_weights()[:len(features.weights)])
    np.testing.assert_allclose(np.asarray(part(PIXELS)[-1]), np.asarray(features(PIXELS)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", pytest.param("efficientnet_b0", marks=pytest.mark.slow)])
def test_pixels_are_scaled_as_where_the_weights_come_from(name, tmp_path):
    """A classifier that started from ImageNet's weights scales them in its own way."""
    trained = models.build(name, input_shape=(64, 64, 3), classes=10)
    if name == "resnet18":
        pretrained.adopt_scaling(trained, "torch")
    else:
        pretrained._divide_by_deviation(trained)
    trained.save(tmp_path / "model.keras")
    entry, model = Weights.read({"file": str(tmp_path / "model.keras")}), on_a_backbone(name)
    entry.suit(model, "detector", {"backbone": name})
    entry.load(model, "detector", {"backbone": name})
    expected = np.asarray(models.features(trained)(PIXELS))
    np.testing.assert_allclose(np.asarray(backbones.inside(model)(PIXELS)[-1]), expected,
                               atol=1e-4 * np.abs(expected).max())


def test_a_trained_model_on_a_backbone_starts_one_of_its_kind(tmp_path):
    trained = on_a_backbone("resnet18")
    trained.save(tmp_path / "model.keras")
    model = on_a_backbone("resnet18")
    model.get_layer("logits").kernel.assign(np.zeros(model.get_layer("logits").kernel.shape))
    loaded = Weights.read({"file": str(tmp_path / "model.keras")}).load(model, "detector", {"backbone": "resnet18"})
    assert loaded[-1] == "logits"
    np.testing.assert_array_equal(model.get_layer("logits").kernel, trained.get_layer("logits").kernel)


@pytest.mark.parametrize("file", ["model.keras", "model.weights.h5"])
def test_a_backbone_refuses_the_weights_of_another_classifier(file, tmp_path):
    trained = models.build("resnet8", input_shape=(32, 32, 3), classes=10)
    (trained.save if file == "model.keras" else trained.save_weights)(tmp_path / file)
    with pytest.raises(ValueError, match=r"the weights of .* do not fit"):
        Weights.read({"file": str(tmp_path / file)}).load(on_a_backbone("resnet18"), "detector",
                                                          {"backbone": "resnet18"})


@pytest.mark.parametrize(("builder", "written", "message"), [
    ("resnet8", "imagenet", "no weights for resnet8"),
    ("mobilenet_v2", {"imagenet": "missing.h5"}, "there is no file missing.h5"),
    ("resnet8", {"file": "missing.keras"}, "there is no file missing.keras"),
    ("resnet8", {"keras_hub": "vit"}, "for the vit builders"),
    ("vgg16", "imagenet", "leave width out"),
])
def test_weights_that_do_not_fit_are_refused(builder, written, message):
    settings = {"width": 0.25} if builder == "vgg16" else {}
    model = models.build(builder, input_shape=(32, 32, 3), classes=10, **settings)
    settings = models.builder(builder).settings().model_validate(settings).model_dump()
    entry = Weights.read(written)
    with pytest.raises(ValueError, match=message):
        entry.suit(model, builder, settings)
        entry.load(model, builder, settings)


def test_weights_of_another_model_are_refused(tmp_path):
    models.build("lenet5", input_shape=(32, 32, 1), classes=10).save(tmp_path / "lenet5.keras")
    model = models.build("resnet8", input_shape=(32, 32, 3), classes=10)
    with pytest.raises(ValueError, match="of another model"):
        Weights.read({"file": str(tmp_path / "lenet5.keras")}).load(model, "resnet8", {})


@pytest.fixture
def preset(tmp_path):
    """A small ViT as KerasHub keeps it."""
    keras_hub = pytest.importorskip("keras_hub", reason="wants the extra hub")
    backbone = keras_hub.models.ViTBackbone(image_shape=(32, 32, 3), patch_size=8, num_layers=2, num_heads=3,
                                            hidden_dim=48, mlp_dim=192)
    for weight in backbone.weights:
        weight.assign(np.random.default_rng(len(weight.path)).normal(0, 0.2, weight.shape))
    backbone.save_to_preset(str(tmp_path / "preset"))
    return tmp_path / "preset", backbone


def test_a_hub_preset_computes_what_it_does_there(preset):
    folder, backbone = preset
    settings = {"patch": 8, "depth": 2, "width": 0.25}
    model = models.build("vit_tiny", input_shape=(32, 32, 3), classes=5, **settings)
    entry = KerasHub(preset=str(folder))
    entry.suit(model, "vit_tiny", settings)
    loaded = entry.load(model, "vit_tiny", settings)
    assert "logits" not in loaded and len(loaded) > 10
    pixels = PIXELS[:, :32, :32]
    expected = backbone.predict(pixels / 127.5 - 1, verbose=0)[:, 0]
    np.testing.assert_allclose(models.features(model).predict(pixels, verbose=0), expected, atol=1e-4)


def test_a_hub_preset_of_another_size_is_refused(preset):
    model = models.build("vit_tiny", input_shape=(48, 48, 3), classes=5, patch=8, depth=2, width=0.25)
    with pytest.raises(ValueError, match=r"the same variant, patch and data\.image\.size"):
        KerasHub(preset=str(preset[0])).load(model, "vit_tiny", {})


def test_the_hub_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    model = models.build("vit_tiny", input_shape=(32, 32, 3), classes=5, patch=16, depth=1, width=0.1)
    with pytest.raises(ValueError, match="pip install"):
        KerasHub(preset="vit_base_patch16_224_imagenet").load(model, "vit_tiny", {})


def test_a_training_knows_when_the_files_of_a_preset_change(tmp_path):
    entry = KerasHub(preset=str(tmp_path))
    (tmp_path / "model.weights.h5").write_bytes(b"one")
    before = entry.fingerprint()
    (tmp_path / "model.weights.h5").write_bytes(b"other")
    assert entry.fingerprint() != before
    assert KerasHub(preset="vit_base_patch16_224_imagenet").fingerprint() == ""
