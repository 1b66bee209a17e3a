"""Weights from elsewhere: what comes in computes what it computed where it comes from."""
import keras
import numpy as np
import pytest

import models
from models import pretrained
from pipelines.training.weights import Weights

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
SMALL = ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "resnet50_v2", "efficientnet_b0",
         "efficientnet_v2_b0"]
LARGE = ["resnet50", "densenet121", "vgg16", "efficientnet_v2_s"]


def randomized(network):
    """Weights as a training leaves them: kernels as initialized, statistics unlike those of a fresh network."""
    generator = np.random.default_rng(1)
    for layer in network.layers:
        if isinstance(layer, (keras.layers.BatchNormalization, keras.layers.Normalization)):
            layer.set_weights([generator.uniform(0.5, 1.5, weight.shape).astype(weight.dtype) for weight in layer.get_weights()])
    return network


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_imagenet_weights_compute_what_keras_applications_does(name, tmp_path):
    found = pretrained.APPLICATIONS[name]
    own = {"minimalistic": False} if name.startswith("mobilenet_v3") else {}
    network = randomized(getattr(keras.applications, found.name)(include_top=False, weights=None, **own))
    path = tmp_path / "notop.weights.h5"
    network.save_weights(path)
    module = {"tf": keras.applications.mobilenet_v2, "torch": keras.applications.densenet, "caffe": keras.applications.vgg16}
    scaled = module[found.pixels].preprocess_input(PIXELS.copy()) if found.pixels in module else PIXELS
    if name.startswith("mobilenet_v3"):
        scaled = PIXELS  # scales inside
    expected = network.predict(scaled, verbose=0)
    if name == "efficientnet_b0":  # ImageNet's weights go with a division that keras.applications makes only where it downloads
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
    given = models.features(model).predict(PIXELS, verbose=0)
    assert given.shape == expected.shape
    np.testing.assert_allclose(given, expected, atol=2e-4 * np.abs(expected).max())


def test_a_trained_model_starts_one_with_other_classes(tmp_path):
    trained = models.build("resnet8", input_shape=(32, 32, 3), classes=10)
    trained.save(tmp_path / "model.keras")
    trained.save_weights(tmp_path / "model.weights.h5")
    for file in ("model.keras", "model.weights.h5"):
        model = models.build("resnet8", input_shape=(48, 48, 3), classes=4)
        loaded = Weights.read({"file": str(tmp_path / file)}).load(model, "resnet8", {})
        names = [layer.name for layer in pretrained.weighted(model)]
        np.testing.assert_array_equal(model.layers[2].get_weights()[0], trained.layers[2].get_weights()[0])
        assert "logits" in set(names) - set(loaded) and loaded[0] == names[0]


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
