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
    ("vit_tiny", "vit_tiny sees no map of the image"), ("lenet5", "lenet5 has no map of 1/4 of 64 x 64 pixels"),
    ("resnet8", r"resnet8 has no map of 1/8 of 64 x 64 pixels; it has 1/1, 1/2, 1/4")])
def test_what_is_no_backbone_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        models.backbone(name, (64, 64, 3) if name != "vit_tiny" else (224, 224, 3))
