"""Classifiers as backbones."""
import keras
import numpy as np
import pytest

import models
from models import backbones


@pytest.mark.parametrize("name, channels", [
    ("resnet50", (256, 512, 1024, 2048)), ("resnet18", (64, 128, 256, 512)),
    # the expansions before the blocks that halve, as SSD and DeepLab take them
    ("mobilenet_v2", (144, 192, 576, 1280)), ("mobilenet_v3_large", (72, 240, 672, 960)),
    ("vgg16", (256, 512, 512, 512)), ({"mobilenet_v2": {"alpha": 0.35}}, (48, 96, 192, 1280))])
def test_each_level_is_the_last_map_of_its_size(name, channels):
    model = models.backbone(name, (96, 128, 3))
    shapes = {level: value.shape[1:] for level, value in models.named_outputs(model).items()}
    assert shapes == {f"p{level}": (96 // 2**level, 128 // 2**level, size)
                      for level, size in zip((2, 3, 4, 5), channels, strict=True)}


@pytest.mark.parametrize("largest", [8, 16])
def test_a_dilated_backbone_has_the_weights_of_its_own_and_answers_as_it_on_an_image_of_one_colour(largest):
    """Holes take the places of strides: where all places are alike, nothing changes."""
    keras.utils.set_random_seed(3)
    whole, level = models.backbone("mobilenet_v2", (320, 320, 3), (5,)), largest.bit_length() - 1
    fine = models.backbone("mobilenet_v2", (320, 320, 3), (level,), largest)
    fine.set_weights(whole.get_weights())
    assert [layer.dilation_rate for layer in fine.layers if layer.name == "block_16_depthwise"] == [
        (32 // largest, 32 // largest)]
    image = np.full((1, 320, 320, 3), 90, "float32")
    coarse, finer = (np.asarray(next(iter(model(image).values()))) for model in (whole, fine))
    assert finer.shape[1:3] == (320 // largest, 320 // largest)
    middle = np.abs(coarse[0, 5, 5]).max()
    np.testing.assert_allclose(finer[0, 160 // largest, 160 // largest], coarse[0, 5, 5], atol=0.05 * middle)


def test_a_model_knows_the_backbone_that_it_was_built_on():
    base = models.backbone("mobilenet_v2", (64, 64, 3), (3, 4))
    head = keras.layers.Conv2D(2, 1)(base.output["p4"])
    model = keras.Model(base.input, head)
    part = backbones.inside(model)
    assert part is not None and [tuple(value.shape[1:]) for value in part.outputs] == [(4, 4, 576)]
    assert backbones.inside(models.build("resnet8", input_shape=(32, 32, 3), classes=2)) is None


@pytest.mark.parametrize("name, message", [
    ({"vit_tiny": {"patch": 7}}, "patches of 7 pixels make no maps whose resolution is halved"),
    ("lenet5", "lenet5 has no map of 1/4 of 64 x 64 pixels"),
    ("resnet8", r"resnet8 has no map of 1/8 of 64 x 64 pixels; it has 1/1, 1/2, 1/4")])
def test_what_is_no_backbone_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        models.backbone(name, (64, 64, 3) if isinstance(name, str) else (224, 224, 3))


def test_the_maps_of_a_vision_transformer_are_its_tokens_where_their_patches_are():
    settings = {"patch": 8, "depth": 2, "width": 1 / 3}
    model = models.backbone({"vit_tiny": settings}, (32, 48, 3))
    shapes = {level: tuple(value.shape[1:]) for level, value in models.named_outputs(model).items()}
    assert shapes == {"p2": (8, 12, 31), "p3": (4, 6, 63), "p4": (2, 3, 63), "p5": (1, 2, 63)}
    network = models.build("vit_tiny", input_shape=(32, 48, 3), classes=2, **settings)
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 48, 3)).astype("float32")
    pyramid = [layer for layer in model.layers if layer.name.startswith("token_map")]
    shared = [layer for layer in model.layers if layer.weights and layer not in pyramid]
    for layer, other in zip(shared, [layer for layer in network.layers if layer.weights][:-1], strict=True):
        layer.set_weights(other.get_weights())
    last = next(layer for layer in reversed(network.layers) if isinstance(layer, keras.layers.LayerNormalization))
    tokens = np.asarray(keras.Model(network.input, last.output)(image))[0, 1:]
    maps = {name: np.asarray(value)[0] for name, value in model(image).items()}
    np.testing.assert_allclose(maps["p3"], tokens.reshape(4, 6, 63), atol=1e-5)
    np.testing.assert_allclose(maps["p4"], maps["p3"][::2, ::2], atol=1e-6)


def test_a_segmenter_on_a_vision_transformer_starts_from_a_classifier(tmp_path):
    from models import pretrained

    settings = {"patch": 8, "depth": 1, "width": 1 / 3}
    classifier = models.build("vit_tiny", input_shape=(32, 32, 3), classes=4, **settings)
    classifier.save(tmp_path / "vit.keras")
    model = models.build("fcn", input_shape=(32, 32, 3), classes=3, backbone={"vit_tiny": settings}, units=16, kernel=1)
    loaded = pretrained.load_file(model, tmp_path / "vit.keras")
    assert {"patch_embedding", "class_token", "positions"} <= set(loaded) and "logits" not in loaded
    np.testing.assert_array_equal(model.get_layer("patch_embedding").kernel,
                                  classifier.get_layer("patch_embedding").kernel)
    assert model.output["logits"].shape[1:] == (32, 32, 3)
