"""Masks: a class for every pixel, from PNG files and from arrays."""
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf

from export.signature import Tensor
from pipelines.features import Field
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


def palette_png():
    """Return a PNG of one pixel that is a number of a palette."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 3, 0, 0, 0))
    content = chunk(b"PLTE", b"\1\1\1" * 3) + chunk(b"IDAT", zlib.compress(b"\0\2"))
    return b"\x89PNG\r\n\x1a\n" + header + content + chunk(b"IEND", b"")


@pytest.mark.parametrize(("value", "reason"), [
    (b"", "has an empty mask"), (b"no image", "has a mask that is truncated, damaged, or not a PNG"),
    (encoded(CLASSES)[:60], "has a mask that is truncated, damaged, or not a PNG"),
    (palette_png(), "has a mask with a palette; write the classes as grey values"),
    (encoded(CLASSES + 1), "has a mask with the class 3, but there are 3 classes, 0 to 2"),
    (CLASSES.astype("int64") - 1, "has a mask with the class -1, but there are 3 classes, 0 to 2"),
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
    feature, known = masks(classes=3)
    feature.draw(axes, value, known)
    shown = axes.images[0].get_array()
    assert shown.shape == (6, 8) and shown.max() == 2
    assert shown.mask.sum() == (value == VOID).sum()
