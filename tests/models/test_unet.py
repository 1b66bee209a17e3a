"""The U-Net against its paper, and on its way to what ships."""
import keras
import numpy as np
import pytest

import models
from export.compression import qat
from export.keras_models import bridge


def paper_parameters(channels: int, classes: int) -> int:
    """Return the parameters in figure 1 of the paper: kernels and biases of each arrow."""
    def convolution(side, inputs, outputs):
        return side * side * inputs * outputs + outputs

    widths = [64, 128, 256, 512, 1024]
    down = sum(convolution(3, before, width) + convolution(3, width, width)
               for before, width in zip([channels, *widths], widths, strict=False))
    up = sum(convolution(2, 2 * width, width) + convolution(3, 2 * width, width) + convolution(3, width, width)
             for width in widths[:-1])
    return down + up + convolution(1, widths[0], classes)


def small(size=(16, 24, 1), classes=3, **settings):
    return models.build("unet", input_shape=size, classes=classes, **{"width": 4, "depth": 2, **settings})


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 21)])
def test_it_has_the_parameters_of_figure_1(channels, classes):
    expected = paper_parameters(channels, classes)
    model = models.build("unet", input_shape=(32, 32, channels), classes=classes)
    assert model.count_params() == expected
    assert (expected == 31_030_658) == (channels == 1)


def test_each_step_halves_the_resolution_and_doubles_the_filters():
    model = small(depth=3)
    shapes = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert shapes == [(8, 12, 4), (4, 6, 8), (2, 3, 16)]
    joined = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Concatenate)]
    assert joined == [(4, 6, 32), (8, 12, 16), (16, 24, 8)]


@pytest.mark.parametrize("size", [(16, 24, 1), (17, 22, 3), (19, 20, 1), (4, 5, 1)])
def test_every_pixel_has_its_logits_whatever_the_size(size):
    model = small(size)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *size)).astype("float32")
    logits = np.asarray(model(pixels))
    assert logits.shape == (2, *size[:2], 3) and np.isfinite(logits).all()
    assert models.named_outputs(model).keys() == {"logits"}


def test_a_pixel_stays_where_it_is_when_the_image_is_padded():
    """A model of odd sides is one of even sides on the image with a black border, cut back."""
    odd, even = small((13, 22, 1)), small((16, 24, 1))
    even.set_weights(odd.get_weights())
    pixels = np.random.default_rng(0).integers(0, 256, (1, 13, 22, 1)).astype("float32")
    framed = np.pad(pixels, ((0, 0), (1, 2), (1, 1), (0, 0)))
    np.testing.assert_allclose(odd(pixels), np.asarray(even(framed))[:, 1:14, 1:23], atol=1e-5)


def test_an_image_smaller_than_the_deepest_step_is_refused():
    with pytest.raises(ValueError, match=r"unet needs images of at least 16 x 16 pixels, got 8 x 24: set "
                                         "data.image.size to 16 or more"):
        models.build("unet", input_shape=(8, 24, 1), classes=2)


def test_settings_choose_its_layers():
    def kinds(**settings):
        return [type(layer).__name__ for layer in small(**settings).layers]

    assert "BatchNormalization" not in kinds() and "Dropout" not in kinds()
    assert kinds(batch_norm=True).count("BatchNormalization") == 2 * (2 + 1 + 2)
    assert kinds(dropout=0.5).count("Dropout") == 1
    norms = [layer for layer in small(batch_norm=True, batch_norm_momentum=0.7).layers
             if isinstance(layer, keras.layers.BatchNormalization)]
    assert {layer.momentum for layer in norms} == {0.7}


def test_a_multiply_add_of_a_transposed_convolution_counts_once():
    image = keras.Input((6, 6, 2))
    model = keras.Model(image, keras.layers.Conv2DTranspose(5, 2, strides=2)(image))
    assert models.census.multiply_adds(model) == 6 * 6 * 2 * (2 * 2 * 5)


@pytest.mark.parametrize("size", [(16, 24, 1), (13, 22, 1)])
def test_it_crosses_the_bridge_both_ways(size):
    model = small(size, batch_norm=True, dropout=0.2)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *size)).astype("float32")
    crossed = bridge.to_tf_keras(model)
    np.testing.assert_allclose(crossed(pixels), model(pixels), atol=1e-5)
    np.testing.assert_allclose(bridge.to_keras(crossed)(pixels), model(pixels), atol=1e-5)


@pytest.mark.parametrize("size", [(13, 22, 1)])
def test_it_learns_with_the_rounding_of_integers(size):
    model = small(size, batch_norm=True)
    aware = qat.prepare(model)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *size)).astype("float32")
    assert np.asarray(aware(pixels, training=True)).shape == (2, *size[:2], 3)
    kernels = [layer.layer for layer in aware.layers if type(getattr(layer, "layer", None)).__name__ ==
               "Conv2DTranspose"]
    assert len(kernels) == 2
