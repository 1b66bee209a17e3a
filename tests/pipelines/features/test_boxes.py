"""Boxes: what is wrong with some, and how they are filled up."""
import matplotlib.figure
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from pipelines.features import Field, Learnt
from pipelines.features.boxes import NONE, Boxes, held
from pipelines.features.image import Image
from pipelines.recipe.recipe import Recipe

KNOWN = Learnt(names=["cat", "dog"])
GOOD = [0.1, 0.2, 0.5, 0.6, 1, 0]


def rows(*boxes):
    return np.array(boxes, "float32").reshape(-1, 6)


def test_boxes_are_filled_up_and_cut_to_the_image():
    feature = Boxes(most=3)
    decoded = feature.decode(tf.constant(rows(GOOD, [-0.004, 0.0, 1.003, 0.3, 0, 1])), KNOWN)
    assert decoded.shape == (3, 6) == feature.tensor("boxes", KNOWN).shape
    np.testing.assert_allclose(decoded, [GOOD, [0, 0, 1, 0.3, 0, 1], [NONE] * 6], atol=1e-6)
    assert len(held(decoded.numpy())) == 2
    assert feature.in_words(decoded.numpy(), KNOWN) == "2 boxes"
    assert feature.counts(decoded.numpy()[None], KNOWN).tolist() == [0, 1], "a crowd is not counted"
    assert feature.decode(tf.constant(rows()), KNOWN).numpy().tolist() == [[NONE] * 6] * 3


@pytest.mark.parametrize(("wrong", "expected"), [
    ([0.5, 0.2, 0.1, 0.6, 0, 0], "a box, the 2. of 2, whose sides are swapped"),
    ([0.1, 0.2, 0.1, 0.6, 0, 0], "of no area"),
    ([0.1, 0.2, 1.2, 0.6, 0, 0], "that is outside the image: 0.100, 0.200, 1.200, 0.600"),
    ([0.1, -0.2, 0.2, 0.6, 0, 0], "outside the image"),
    ([-0.004, 0.1, 0, 0.2, 0, 0], "of no area"),
    ([0.1, 0.2, 0.5, 0.6, 2, 0], "of class 2, but there are 2 classes, 0 to 1"),
    ([0.1, 0.2, 0.5, 0.6, -1, 0], "of class -1"),
    ([0.1, np.nan, 0.5, 0.6, 0, 0], "with a side that is no number")])
def test_what_is_wrong_with_a_box_is_said(wrong, expected):
    assert expected in Boxes().fault(rows(GOOD, wrong), KNOWN)
    assert Boxes().fault(rows(GOOD, GOOD), KNOWN) is None and Boxes().fault(rows(), KNOWN) is None


def test_more_boxes_than_there_is_room_for_are_refused():
    assert "has 2 boxes; raise data.boxes.most, which is 1" in Boxes(most=1).fault(rows(GOOD, GOOD), KNOWN)


def test_boxes_go_with_images_that_are_resized():
    with pytest.raises(ValidationError, match="fit is pad, and boxes are shares of the whole image"):
        Recipe.model_validate({"name": "x", "task": "object_detection", "model": {"builder": "yolov8"},
                               "data": {"source": "digits_in_scenes", "image": {"fit": "pad"}}})


def test_boxes_are_drawn_where_they_are():
    axes = matplotlib.figure.Figure().add_subplot()
    Image().draw(axes, np.zeros((10, 20, 3)), Learnt())
    Boxes().draw(axes, rows(GOOD, [NONE] * 6), KNOWN)
    patch, = axes.patches
    assert patch.get_xy() == pytest.approx((3.5, 0.5)) and patch.get_width() == pytest.approx(8)
    assert patch.get_height() == pytest.approx(4) and [text.get_text() for text in axes.texts] == ["dog"]


def test_they_are_made_of_boxes_alone():
    with pytest.raises(Exception, match="boxes is made of boxes"):
        Boxes().check("boxes", {"boxes": Field(kind="array")})
