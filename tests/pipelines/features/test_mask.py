"""Masks: a class for every pixel, from PNG files and from arrays."""
import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from export.signature import Tensor
from pipelines.errors import UserError
from pipelines.features import Field
from pipelines.features.image import Image
from pipelines.features.mask import VOID, Mask
from tests.pipelines.features.conftest import CLASSES, encoded

ARRAY = Field(kind="array", shape=(3, 4))


def masks(**settings):
    feature = Mask(**settings)
    return feature, feature.learn(Field(kind="bytes"), ())


def test_a_mask_loses_nothing_as_a_file():
    feature, known = masks(classes=3)
    ending, content = feature.encode(CLASSES)
    assert ending == "png"
    np.testing.assert_array_equal(feature.decode(tf.constant(content), known), CLASSES)
    assert feature.fault(content, known) is None
    again = feature.decode(tf.constant(CLASSES), known)
    np.testing.assert_array_equal(again, CLASSES)


def test_a_mask_is_resized_without_new_classes():
    feature, known = masks(classes=3, size=3)
    corners = np.array([[0, 0, 2, 2]] * 4 + [[2, 2, 0, 0]] * 4, "uint8")
    mask = feature.decode(tf.constant(encoded(corners)), known)
    assert mask.shape == (3, 3) == feature.tensor("mask", known).shape
    assert set(np.unique(mask)) == {0, 2}


def test_a_mask_knows_its_size_and_its_classes_by_its_field():
    field = Field(kind="bytes", names=["sky", "tree"], shape=(6, None, 1))
    known = Mask().learn(field, ())
    assert known.names == ["sky", "tree"] and Mask().tensor("mask", known).shape == (6, None)
    assert Mask(classes=4).learn(ARRAY, ()).names == ["0", "1", "2", "3"]
    assert Mask().tensor("mask", Mask().learn(ARRAY, ())) == Tensor(
        name="mask", dtype="uint8", shape=(3, 4), role="mask", meaning="the class of every pixel")


def palette_png(numbers):
    """Return a PNG of numbers of a palette whose colours say nothing of them."""
    image = PIL.Image.fromarray(numbers, "P")
    image.putpalette([200, 10, 10, 200, 10, 10, 0, 90, 0])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def header(bits, color, rows):
    """Return a PNG of one row, written byte by byte: as many bits a pixel, of a kind of colour."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", 8 * len(rows) // bits, 1, bits, color, 0, 0, 0))
    palette = chunk(b"PLTE", b"\1\1\1" * 4) if color == 3 else b""
    return (b"\x89PNG\r\n\x1a\n" + start + palette + chunk(b"IDAT", zlib.compress(b"\0" + rows)) + chunk(b"IEND", b""))


@pytest.mark.parametrize(("content", "expected"), [
    (palette_png(CLASSES), CLASSES), (header(8, 3, b"\2\1\0"), [[2, 1, 0]]),
    (header(2, 3, bytes([0b10010010])), [[2, 1, 0, 2]]), (header(1, 0, bytes([0b10100000])), [[1, 0, 1] + [0] * 5]),
    (encoded(np.repeat(CLASSES[..., None], 3, axis=-1)), CLASSES)])
def test_the_numbers_of_a_palette_are_the_classes(content, expected):
    """And so are grey values, of one bit or eight, alone or three times."""
    feature, known = masks(classes=3)
    assert feature.fault(content, known) is None
    np.testing.assert_array_equal(feature.decode(tf.constant(content), known), expected)
    dataset = tf.data.Dataset.from_tensors(content).map(lambda one: feature.decode(one, known))
    np.testing.assert_array_equal(next(dataset.as_numpy_iterator()), expected)


BLACK_WHITE = np.where(CLASSES == 2, 255, 0).astype("uint8")


def test_of_two_classes_in_black_and_white_white_is_the_second():
    feature = Mask()
    known = feature.learn(Field(kind="bytes"), [encoded(BLACK_WHITE), encoded(0 * CLASSES)])
    assert known.names == ["background", "foreground"]
    np.testing.assert_array_equal(feature.decode(tf.constant(encoded(BLACK_WHITE)), known), CLASSES == 2)
    of_arrays = feature.learn(Field(kind="array"), iter([BLACK_WHITE]))
    np.testing.assert_array_equal(feature.decode(tf.constant(BLACK_WHITE), of_arrays), CLASSES == 2)


@pytest.mark.parametrize("other", [np.minimum(CLASSES, 1), np.where(CLASSES == 1, 1, BLACK_WHITE)])
def test_255_is_no_class_where_a_mask_has_other_values(other):
    feature = Mask()
    known = feature.learn(Field(kind="array"), [other.astype("uint8")])
    np.testing.assert_array_equal(feature.decode(tf.constant(other.astype("uint8")), known), other)


def test_classes_may_be_written_as_other_values():
    feature, known = masks(values=[0, 128, 255], names=["sky", "tree", "house"])
    written = np.array([0, 128, 255], "uint8")[CLASSES]
    assert known.names == ["sky", "tree", "house"] and feature.fault(encoded(written), known) is None
    np.testing.assert_array_equal(feature.decode(tf.constant(encoded(written)), known), CLASSES)
    few, known = masks(values=[10, 20])
    np.testing.assert_array_equal(few.decode(tf.constant([[10, 20, 255]]), known), [[0, 1, VOID]])
    assert few.fault(np.array([[10, 30]]), known) == (
        "has a mask with the value 30, but classes are written as 10, 20; list them in data.mask.values")


@pytest.mark.parametrize(("settings", "message"), [
    ({"values": [0, 0]}, "give a different value for each class, all from 0 to 255"),
    ({"values": [0, 256]}, "all from 0 to 255"),
    ({"names": ["a", "a"]}, "give a different name for each class"),
    ({"names": ["a", ""]}, "give a different name for each class"),
    ({"values": [0, 1, 2], "names": ["a", "b"]}, "they say: names 2, values 3"),
    ({"classes": 4, "names": ["a", "b"]}, "they say: classes 4, names 2")])
def test_settings_that_disagree_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Mask(**settings)


def test_the_sources_names_can_be_replaced_by_as_many():
    field = Field(kind="bytes", names=["0", "1"])
    assert Mask(names=["no", "yes"]).learn(field, ()).names == ["no", "yes"]
    with pytest.raises(UserError, match=r"data.mask: names has 3 classes, and the source 2: 0, 1"):
        Mask(names=["a", "b", "c"]).learn(field, ())
    with pytest.raises(UserError, match=r"data.mask: values has 3 classes, and the source 2: 0, 1"):
        Mask(values=[0, 1, 2]).learn(field, ())


def test_a_mask_without_a_size_is_brought_to_the_images():
    image, mask = Image(size=[4, 10], fit="pad"), Mask(classes=3)
    fitted = mask.beside({"image": image, "mask": mask})
    known = fitted.learn(Field(kind="bytes"), ())
    cut = np.asarray(fitted.decode(tf.constant(encoded(CLASSES)), known))
    assert cut.shape == (4, 10)
    np.testing.assert_array_equal(cut[:, 1:9], CLASSES[1:5])
    assert (cut[:, [0, 9]] == VOID).all()
    assert Mask(size=7).beside({"image": image}).size == (7, 7)
    assert mask.beside({"image": image, "second": image}) == mask
    assert Mask(size=[4, 10]).beside({"image": image}).fit == "pad", "as the image, or it would lie beside it"
    assert Mask(size=7, fit="resize").beside({"image": image}).fit == "resize"
    for settings in ({"size": [4, 10], "fit": "resize"}, {"fit": "resize"}):
        with pytest.raises(PydanticCustomError, match="fit is resize, and that of the image pad"):
            Mask(**settings).beside({"image": image})


@pytest.mark.parametrize("fit", ["resize", "pad"])
@pytest.mark.parametrize("size", [(24, 32), (48, 64), (12, 16), (20, 40)])
def test_a_mask_stays_on_its_image(fit, size):
    """Where an image of its classes has the grey of one, and not one between, the mask has that class."""
    bright = np.repeat(np.repeat(CLASSES == 1, 4, axis=0), 4, axis=1).astype("uint8")
    image = Image(size=size, channels=1, fit=fit)
    mask = Mask(classes=2).beside({"image": image})
    known = mask.learn(Field(kind="bytes"), ())
    grey = image.decode(tf.constant(encoded(bright * 200)), known).numpy()[..., 0]
    moved = mask.decode(tf.constant(encoded(bright)), known).numpy()
    clear = np.isin(grey, [0, 200]) & (moved != VOID)
    assert clear.mean() > 0.1
    np.testing.assert_array_equal(moved[clear], grey[clear] == 200)


def tiff(values):
    file = io.BytesIO()
    PIL.Image.fromarray(values.astype("float32" if values.dtype.kind == "f" else values.dtype)).save(file, "TIFF")
    return file.getvalue()


MANY = ("but there are 3 classes, 0 to 2; say how many in data.mask.classes, or what they are written as in "
        "data.mask.values")


@pytest.mark.parametrize(("value", "reason"), [
    (b"", "has an empty mask"), (b"no image", "has a mask that is truncated, damaged, or not a PNG"),
    (encoded(CLASSES)[:60], "has a mask that is truncated, damaged, or not a PNG"),
    (encoded(np.arange(72, dtype="uint8").reshape(4, 6, 3)),
     "has a mask in colours; write the classes as grey values, or as numbers of a palette"),
    (palette_png(CLASSES + 1), f"has a mask with the class 3, {MANY}"),
    (encoded(CLASSES + 1), f"has a mask with the class 3, {MANY}"),
    (encoded(CLASSES.astype("uint16") + 300), "has a mask with the value 302; write classes as 0 to 255"),
    (tiff(CLASSES / 2), "has a mask with the value 0.5; write classes as 0 to 255"),
    (tiff(CLASSES.astype("int32") - 1), "has a mask with the value -1; write classes as 0 to 255"),
    (CLASSES.astype("int64") - 1, f"has a mask with the class -1, {MANY}"),
    (np.where(CLASSES == 1, VOID, CLASSES), None), (encoded(CLASSES), None)])
def test_a_mask_that_cannot_be_read_says_why(value, reason):
    feature, known = masks(classes=3)
    assert feature.fault(value, known) == reason


def test_masks_are_prepared_one_hot_and_void_is_no_class():
    feature, known = masks(classes=3)
    values = np.where(CLASSES == 1, VOID, CLASSES)[None]
    prepared = feature.prepare(tf.constant(values), known).numpy()
    assert prepared.shape == (1, 6, 8, 3) and prepared.dtype == np.float32
    np.testing.assert_array_equal(prepared.sum(-1), values != VOID)
    np.testing.assert_array_equal(prepared.argmax(-1)[values != VOID], values[values != VOID])
    assert feature.counts(values, known).tolist() == [16, 0, 16]


@pytest.mark.parametrize("value", [CLASSES, np.eye(3)[CLASSES], np.where(CLASSES == 1, VOID, CLASSES)])
def test_masks_are_drawn(axes, value):
    feature = Mask(names=["background", "cat", "dog"])
    known = feature.learn(Field(kind="bytes"), ())
    feature.draw(axes, value, known)
    painted = axes.images[0].get_array()
    assert painted.shape == (6, 8, 4)
    assert (painted[CLASSES == 0, 3] == 0).all(), "the background is not painted"
    colors = {tuple(color) for color in painted[CLASSES == 1]} | {tuple(color) for color in painted[CLASSES == 2]}
    assert len(colors) == 2 and all(color[3] == 1 for color in colors)
