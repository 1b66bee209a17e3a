"""YOLOv8 and how its boxes are read."""
import keras
import numpy as np
import pytest

import models
from export.compression import qat
from export.keras_models import bridge
from models.box_coding import Points

SMALL = {"input_shape": (64, 32, 3), "classes": 4, "width": 0.125, "depth": 0.17, "bins": 8}


@pytest.mark.parametrize("levels", [[3, 4, 5], [3, 4], [4], [5, 4]])
def test_each_point_has_its_boxes_and_logits(levels):
    model = models.build("yolov8", **{**SMALL, "levels": levels})
    coding = models.builder("yolov8").coded(SMALL, {"levels": levels, "bins": 8})
    assert coding.strides == tuple(2**level for level in sorted(levels))
    assert coding.count == sum(64 * 32 // stride**2 for stride in coding.strides)
    shapes = {name: value.shape for name, value in models.named_outputs(model).items()}
    assert shapes == {"boxes": (None, coding.count, 32), "logits": (None, coding.count, 4)}
    given = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 3)).astype("float32")
    answered = model(given)
    assert np.isfinite(answered["boxes"]).all() and (np.asarray(answered["logits"]) < 0).mean() > 0.7


def test_points_are_in_the_order_of_the_outputs():
    """What changes in one corner of an image changes the points there most."""
    keras.utils.set_random_seed(1)
    wide = {**SMALL, "input_shape": (256, 128, 3)}
    model = models.build("yolov8", **{**wide, "levels": [3], "activation": "relu"})
    coding = models.builder("yolov8").coded(wide, {"levels": [3], "bins": 8})
    dark = np.zeros((1, 256, 128, 3), "float32")
    light = dark.copy()
    light[0, 192:224, 96:] = 255
    change = np.abs(np.asarray(model(light)["logits"]) - np.asarray(model(dark)["logits"]))[0].sum(axis=1)
    y, x = (coding.points() * change[:, None]).sum(axis=0) / change.sum()
    assert 170 <= y <= 240 and x >= 70


def test_the_image_must_be_cut_into_whole_cells():
    with pytest.raises(ValueError, match=r"sides are multiples of 32, got 72 x 32: change data\.image\.size"):
        models.build("yolov8", **{**SMALL, "input_shape": (72, 32, 3)})


@pytest.mark.parametrize("bins", [1, 8])
def test_a_box_is_read_as_it_is_written(bins):
    coding = Points((64, 32), (8, 16), bins)
    generator = np.random.default_rng(0)
    points, steps = coding.points(), coding.steps()
    sides = generator.uniform(0.1, 6.9, (3, coding.count, 4)).astype("float32")
    boxes = np.concatenate([points - sides[..., :2] * steps[:, None], points + sides[..., 2:] * steps[:, None]], -1)
    np.testing.assert_allclose(coding.encode(boxes), sides, atol=1e-4)
    written = sides
    if bins > 1:  # a distribution over the two whole numbers around the distance has it for its mean
        below = np.floor(sides).astype(int)
        shares = np.eye(bins)[below] * (1 - (sides - below))[..., None] + np.eye(bins)[below + 1] * (sides - below)[
            ..., None]
        written = np.log(np.maximum(shares, 1e-9)).reshape(3, coding.count, -1).astype("float32")
    np.testing.assert_allclose(coding.decode(written), boxes, atol=1e-3)


def test_points_are_the_centres_of_cells():
    coding = Points((16, 32), (8, 16), 1)
    assert coding.points().tolist() == [[4, 4], [4, 12], [4, 20], [4, 28], [12, 4], [12, 12], [12, 20], [12, 28],
                                        [8, 8], [8, 24]]
    assert coding.steps().tolist() == [8] * 8 + [16] * 2


def test_it_crosses_the_bridge():
    keras.utils.set_random_seed(1)
    model = models.build("yolov8", **SMALL)
    given = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 3)).astype("float32")
    old = bridge.to_tf_keras(model)
    expected, answered = model(given), old(given)
    for name in ("boxes", "logits"):
        np.testing.assert_allclose(answered[name], expected[name], atol=1e-5)


@pytest.mark.slow
def test_it_learns_with_the_rounding_of_integers():
    given = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 3)).astype("float32")
    aware = qat.prepare(models.build("yolov8", **SMALL))
    assert np.isfinite(aware(given)["boxes"]).all()
    assert "quant" in aware.layers[2].name
