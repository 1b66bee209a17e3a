"""What all features share."""
import numpy as np
import pytest
import tensorflow as tf

from export.signature import Tensor
from pipelines.errors import UserError
from pipelines.features import Feature, Field
from pipelines.features.image import Image
from pipelines.features.label import Label
from pipelines.features.mask import Mask
from pipelines.features.number import Number
from tests.pipelines.features.conftest import CLASSES, PIXELS, encoded

BYTES, NUMBER = Field(kind="bytes"), Field(kind="number")


def test_every_kind_is_known_by_its_name():
    assert {"image": Image, "label": Label, "mask": Mask, "number": Number}.items() <= Feature.choices.items()


def test_a_feature_is_made_of_the_field_of_its_name_or_of_another():
    fields = {"image": BYTES, "photo": Field(kind="bytes", shape=(8, 8, 3)), "age": NUMBER}
    assert Image().check("image", fields) is fields["image"]
    assert Image(field="photo").check("image", fields) is fields["photo"]
    with pytest.raises(UserError, match=r"no field left; it has image, photo, age. Name it in data\.left\.field"):
        Image().check("left", fields)
    with pytest.raises(UserError, match=r"age is number, and image is made of bytes. Name another in data\.image"):
        Image(field="age").check("image", fields)


@pytest.mark.parametrize("feature", [Label(), Mask(), Number()])
def test_what_is_in_no_file_is_not_read_from_one(feature, tmp_path):
    with pytest.raises(UserError, match="cannot be read from a file"):
        feature.from_file(tmp_path / "x", Tensor(name="x", dtype="float32", shape=()))


@pytest.mark.parametrize(("feature", "field", "value"), [
    (Image(size=6), BYTES, encoded(PIXELS)), (Mask(classes=3, size=4), BYTES, encoded(CLASSES)),
    (Label(), Field(kind="class", names=["a", "b"]), np.int64(1)),
    (Number(), Field(kind="array", shape=(3, 4)), np.ones((3, 4)))])
def test_decoding_is_the_same_inside_a_graph(feature, field, value):
    learnt = feature.learn(field, ())

    @tf.function
    def decode(raw):
        return feature.decode(raw, learnt)

    raw = tf.constant(value)
    np.testing.assert_array_equal(decode(raw), feature.decode(raw, learnt))
    assert decode.get_concrete_function(raw).output_shapes == feature.tensor("x", learnt).shape
