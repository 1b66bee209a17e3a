"""A generator with styles and its discriminator: their sizes, and their layers against NumPy and SciPy."""
import math

import keras
import numpy as np
import pytest
import scipy.signal

import models
from models import dcgan, equalized, minibatch, modulated, stylegan2
from models.styles import styles_class

GENERATOR = np.random.default_rng(0)
SMALL = {"width": 4, "most": 8, "depth": 2, "units": 6, "layers": 2}


def small(classes=0, **settings):
    keras.utils.set_random_seed(0)
    return models.build("stylegan2", input_shape=(8, 12, 1), noise_shape=(5,), classes=classes, **{**SMALL, **settings})


def made(model, noise, training=False):
    return np.asarray(dcgan.parts(model).generator({"noise": noise}, training=training)["generated"])


def normal(*shape):
    return GENERATOR.normal(size=shape).astype("float32")


def trainable(model):
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def test_the_players_have_the_layers_of_the_authors_code():
    def layer(inputs, outputs):  # kernel, affine map of the style and its bias, bias, strength of the noise
        return 9 * inputs * outputs + 513 * inputs + outputs + 1

    def colours(inputs):
        return 3 * inputs + 513 * inputs + 3

    filters = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128}
    mapping = 8 * 513 * 512
    synthesis = 4 * 4 * 512 + layer(512, 512) + colours(512)
    judge = 3 * 128 + 128
    for side in (8, 16, 32, 64, 128, 256):
        before, here = filters[side // 2], filters[side]
        synthesis += layer(before, here) + layer(here, here) + colours(here)
        judge += 9 * here * here + here + 9 * here * before + before + here * before
    judge += 9 * 513 * 512 + 512 + (512 * 16 + 1) * 512 + 513
    assert (mapping + synthesis, judge) == (30_034_338, 28_864_129)
    with keras.StatelessScope(initialize_variables=False):
        model = models.build("stylegan2", input_shape=(256, 256, 3), noise_shape=(512,), classes=0)
        players, halves = dcgan.parts(model), stylegan2.halves(model)
        assert trainable(players.generator) == mapping + synthesis and trainable(players.discriminator) == judge
        assert trainable(halves.mapping) == mapping and trainable(halves.synthesis) == synthesis
        assert halves.styles.count == 14, "18 at 1024 pixels, and two less for each halving"
    keras.backend.clear_session()


@pytest.mark.parametrize("classes", [0, 3])
def test_its_size_is_known_without_building_it(classes):
    model = small(classes)
    dimensions = {"input_shape": (8, 12, 1), "noise_shape": (5,), "classes": classes}
    assert model.count_params() == models.builder("stylegan2").sized(dimensions, SMALL).parameters
    condition = {"condition": np.eye(3, dtype="float32")[[0, 1]]} if classes else {}
    players = dcgan.parts(model)
    pictures = np.asarray(players.generator({"noise": normal(2, 5), **condition})["generated"])
    assert pictures.shape == (2, 8, 12, 1) and pictures.min() >= 0 and pictures.max() <= 255
    assert players.discriminator({"image": pictures, **condition})["realness"].shape == (2, 1)


@pytest.mark.parametrize("doubles", [False, True])
def test_a_modulated_convolution_has_a_kernel_for_each_example(doubles):
    x, scales, kernel = normal(2, 5, 4, 3), normal(2, 3), normal(3, 3, 3, 6)
    result = np.asarray(modulated.modulated(x, scales, kernel, doubles))
    taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16  # 64 less the three zeros of four pixels
    for image, scale, maps in zip(x, scales, result, strict=True):
        own = kernel * scale[:, None]  # equation 1 of the paper, and equation 3
        own = own / np.sqrt((own ** 2).sum(axis=(0, 1, 2)) + 1e-8)
        for output in range(6):
            expected = 0.0
            for channel in range(3):
                seen, weights = image[..., channel], own[..., channel, output]
                if doubles:
                    wide = np.zeros((9, 7))
                    wide[::2, ::2] = seen
                    full = scipy.signal.convolve2d(wide, weights, "full")
                    expected += scipy.signal.convolve2d(full, taps, "full")[2:-2, 2:-2]
                else:
                    expected += scipy.signal.correlate2d(seen, weights, "same")
            np.testing.assert_allclose(maps[..., output], expected, atol=1e-5)
    assert result.shape == ((2, 10, 8, 6) if doubles else (2, 5, 4, 6))


def test_colours_are_not_scaled_by_the_size_of_their_kernel():
    x, scales, kernel = normal(2, 3, 3, 4), normal(2, 4), normal(1, 1, 4, 2)
    result = modulated.modulated(x, scales, kernel, demodulates=False)
    np.testing.assert_allclose(result, np.einsum("nhwi,ni,io->nhwo", x, scales, kernel[0, 0]), atol=1e-5)


def test_images_are_doubled_and_maps_halved_behind_the_filter():
    image = normal(1, 6, 4, 2)
    taps = np.array([1, 3, 3, 1]) / 4
    expected = scipy.signal.upfirdn(taps, scipy.signal.upfirdn(taps, image, 2, axis=1), 2, axis=2)[:, 1:-1, 1:-1]
    np.testing.assert_allclose(equalized.doubled(image), expected, atol=1e-5)
    halved = equalized.convolution_class()(2, 1, halves=True, activates=False)
    halved.build(image.shape)
    halved.kernel.assign(np.eye(2)[None, None] * math.sqrt(2))
    taps = taps / 2
    expected = scipy.signal.upfirdn(taps, scipy.signal.upfirdn(taps, image, axis=1), axis=2)[:, 2:-2:2, 2:-2:2]
    np.testing.assert_allclose(halved(image), expected, atol=1e-5)


def test_weights_begin_alike_and_are_scaled_while_they_are_used():
    layer = equalized.dense_class()(300, rate=0.01)
    x = normal(2, 400)
    result = np.asarray(layer(x))
    assert np.std(layer.kernel) == pytest.approx(100, rel=0.02)
    np.testing.assert_allclose(result, x @ np.asarray(layer.kernel) * 0.01 / 20, rtol=1e-3, atol=1e-3)
    layer.bias.assign(np.ones(300))
    np.testing.assert_allclose(layer(x) - result, 0.01, atol=1e-4)


@pytest.mark.parametrize(("batch", "members", "groups"), [(8, 4, 2), (3, 3, 1), (6, 4, 2)])
def test_groups_of_images_are_compared(batch, members, groups):
    x = normal(batch, 2, 2, 3)
    rows = np.concatenate([x, x])[:members * groups].reshape(members, groups, 2, 2, 3)
    of_group = np.sqrt(rows.var(axis=0) + 1e-8).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(minibatch.spread(x), of_group[np.arange(batch) % groups], rtol=1e-5)


def test_a_picture_depends_on_its_noise_alone_and_in_training_on_more():
    model = small()
    noise = normal(3, 5)
    for layer in model.layers:
        if isinstance(layer, modulated.styled_class()):
            layer.strength.assign(0.5)
    np.testing.assert_array_equal(made(model, noise), made(model, noise))
    np.testing.assert_allclose(made(model, noise)[1:2], made(model, noise[1:2]), atol=1e-2)
    once = made(model, noise, training=True)
    assert np.abs(once - made(model, noise)).max() > 1
    np.testing.assert_array_equal(once, made(model, noise, training=True), "by what is drawn anew for each step")
    layers = [layer.noise.numpy().ravel() for layer in model.layers if isinstance(layer, modulated.styled_class())]
    assert len(layers) == 5 and not np.array_equal(layers[1], layers[2])
    assert 0.8 < np.std(np.concatenate(layers)) < 1.2


def test_styles_are_truncated_towards_their_mean_in_inference():
    noise = normal(400, 5)
    whole, none = small(depth=1, layers=1), small(depth=1, layers=1, truncation=0.0)
    style = np.asarray(stylegan2.halves(whole).mapping({"noise": noise}))
    for _ in range(3):
        made(none, noise, training=True)
    average = np.asarray(stylegan2.halves(none).styles.average)
    np.testing.assert_allclose(average, (1 - 0.995 ** 3) * style.mean(axis=0), rtol=1e-3)
    pictures = made(none, noise[:3])
    np.testing.assert_allclose(pictures, np.repeat(pictures[:1], 3, axis=0), atol=1e-3)
    assert np.std(made(whole, noise[:3]), axis=0).max() > 1
    styles = styles_class()(1, 0.5)
    styles.build((None, 6))
    styles.average.assign(average)
    np.testing.assert_allclose(styles(style)[-1], average + 0.5 * (style - average), atol=1e-6)


@pytest.mark.parametrize(("shape", "noise", "message"), [
    ((28, 28, 1), (64,), "stylegan2 needs images of at least 64 x 64 pixels"),
    ((100, 100, 1), (64,), "stylegan2 halves images 6 times, and 100 x 100 pixels do not halve so often"),
    ((64, 64, 1), (64, 64, 1), "its noise is .64, 64, 1.: set data.noise to how many")])
def test_images_and_noise_that_do_not_fit_are_refused(shape, noise, message):
    with pytest.raises(ValueError, match=message):
        models.build("stylegan2", input_shape=shape, noise_shape=noise, classes=0)
