"""Images: from a file of any format and size to raw pixels, and back."""
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from export.signature import Tensor
from pipelines.errors import UserError
from pipelines.features import Learnt
from pipelines.features.image import Image
from tests.pipelines.features.conftest import PIXELS, encoded

NOT_ONE = "not a JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF or PPM"


@pytest.mark.parametrize(("settings", "expected"), [
    ({"size": (4, 6)}, (4, 6, 3)), ({"size": 20, "fit": "pad"}, (20, 20, 3)), ({"size": 5, "channels": 1}, (5, 5, 1))])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_come_out_in_the_shape_that_was_asked_for(settings, expected, channels):
    feature = Image(**settings)
    image = feature.fitted(tf.zeros((10, 8, channels), tf.uint8))
    assert image.shape == expected == feature.tensor("image", Learnt()).shape and image.dtype == tf.uint8


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG"])
def test_images_are_decoded_in_each_format(kind):
    grey = np.full((10, 8, 3), 90, "uint8")
    feature = Image(size=(10, 8))
    assert feature.fault(encoded(grey, kind), Learnt()) is None
    np.testing.assert_allclose(feature.decode(tf.constant(encoded(grey, kind)), Learnt()), grey, atol=2)


def test_resizing_is_pils_within_a_grey_level():
    smooth = np.asarray(PIL.Image.fromarray(PIXELS).resize((40, 40), PIL.Image.Resampling.BICUBIC))
    expected = PIL.Image.fromarray(smooth).resize((20, 25), PIL.Image.Resampling.BILINEAR)
    result = Image(size=(25, 20)).fitted(tf.constant(smooth)).numpy().astype(int)
    assert np.abs(result - np.asarray(expected).astype(int)).max() <= 2


def test_padding_keeps_the_pixels_in_the_middle():
    image = np.arange(28 * 28, dtype="uint16").reshape(28, 28, 1).astype("uint8")
    padded = Image(size=32, channels=1, fit="pad").fitted(tf.constant(image)).numpy()
    np.testing.assert_array_equal(padded[2:30, 2:30], image)
    assert padded.sum() == image.astype(int).sum()


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_loses_nothing_as_a_file(channels):
    image = PIXELS[..., :channels]
    feature = Image(size=image.shape[:2], channels=channels)
    ending, content = feature.encode(image)
    assert ending == "png" and content.startswith(b"\x89PNG")
    np.testing.assert_array_equal(feature.decode(tf.constant(content), Learnt()), image)


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "empty file"), (b"no image", NOT_ONE), (encoded(PIXELS)[:99], "truncated or damaged"),
    (encoded(PIXELS, "JPEG")[:300], "truncated or damaged"), (encoded(PIXELS), None)])
def test_an_image_that_cannot_be_read_says_why(content, reason):
    assert Image(size=8).fault(content, Learnt()) == reason


def test_a_users_image_is_read_in_the_shape_of_the_model(tmp_path):
    PIL.Image.fromarray(PIXELS).save(tmp_path / "x.png")
    tensor = Tensor(name="image", dtype="uint8", shape=(10, 8, 3), role="image")
    np.testing.assert_array_equal(Image().from_file(tmp_path / "x.png", tensor), PIXELS)
    grey = Image().from_file(tmp_path / "x.png", tensor.model_copy(update={"shape": (5, 4, 1)}))
    assert grey.shape == (5, 4, 1) and grey.dtype == np.uint8
    with pytest.raises(UserError, match=r"y.png: there is no such image"):
        Image().from_file(tmp_path / "y.png", tensor)
    (tmp_path / "z.png").write_text("no image")
    with pytest.raises(UserError, match=f"z.png: {NOT_ONE}"):
        Image().from_file(tmp_path / "z.png", tensor)


def test_properties_of_images_follow_their_light_and_their_edges():
    dark, light = np.full((1, 8, 8, 3), 20, "uint8"), np.full((1, 8, 8, 3), 220, "uint8")
    edges = np.zeros((1, 8, 8, 3), "uint8")
    edges[:, :, ::2] = 200
    properties = Image().properties(np.concatenate([dark, light, edges]))
    np.testing.assert_allclose(properties["brightness"], [20, 220, 100])
    np.testing.assert_allclose(properties["contrast"], [0, 0, 100])
    np.testing.assert_allclose(properties["sharpness"], [0, 0, 200])


def test_images_are_prepared_as_they_are():
    prepared = Image(size=(10, 8)).prepare(tf.constant(PIXELS[None]), Learnt())
    assert prepared.dtype == tf.float32
    np.testing.assert_array_equal(prepared[0], PIXELS)


@pytest.mark.parametrize("image", [PIXELS, PIXELS[..., :1], PIXELS.astype("float32") + 0.3])
def test_images_are_drawn(axes, image):
    Image().draw(axes, image, Learnt())
    shape = image.shape[:2] if image.shape[-1] == 1 else image.shape
    assert axes.images[0].get_array().shape == shape
