"""BlazeFace against its paper's tables and figures."""
import itertools

import keras
import numpy as np
import pytest

import models

#: Of table 4: each block's filters in and out, of single ones; and those of double ones, in, between and out.
SINGLE = ((24, 24), (24, 24), (24, 48), (48, 48), (48, 48))
DOUBLE = ((48, 24, 96), (96, 24, 96), (96, 24, 96), (96, 24, 96), (96, 24, 96), (96, 24, 96))


def test_its_weights_are_those_of_the_table():
    """Kernels of 5 x 5 and of one pixel, without biases, two trained numbers for each normalized channel, and heads for
    a score, four sides and six key points of two and of six anchors a cell."""
    def block(*filters):
        return sum(25 * given + given * made + 2 * made for given, made in itertools.pairwise(filters))

    trained = 25 * 3 * 24 + 2 * 24 + sum(block(*filters) for filters in (*SINGLE, *DOUBLE))
    trained += sum(anchors * (1 + 4 + 12) * (96 + 1) for anchors in (2, 6))
    model = models.build("blazeface", input_shape=(128, 128, 3), classes=1)
    assert sum(np.prod(one.shape) for one in model.trainable_variables) == trained == 71_272
    sides = [layer.output.shape[1] for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert sides == [64, 64, 32, 32, 32, 16, 16, 16, 8, 8, 8]


def test_its_anchors_are_896_squares():
    builder = models.builder("blazeface")
    coding = builder.coded(builder.at, builder.settings()(scales=(0.1, 0.8)).model_dump())
    assert coding.count == 16 * 16 * 2 + 8 * 8 * 6 == 896 and coding.point_count == 6
    sizes = np.unique(coding.sizes().round(3), axis=0)
    assert (sizes[:, 0] == sizes[:, 1]).all() and sizes[[0, -1], 0] == pytest.approx([12.8, 102.4], abs=1e-3)
    np.testing.assert_allclose(sizes[1:, 0] / sizes[:-1, 0], 8 ** (1 / 7), atol=1e-3)


def test_without_key_points_it_is_a_detector_of_any_classes():
    model = models.build("blazeface", input_shape=(64, 96, 3), classes=3, points=0)
    assert {name: value.shape[1:] for name, value in models.named_outputs(model).items()} == {
        "boxes": (336, 4), "logits": (336, 3)}


@pytest.mark.parametrize(("settings", "expected"), [
    ({"input_shape": (128, 120, 3)}, "multiples of 16, got 128 x 120"),
    ({"scales": (0.5, 0.2)}, "the smaller comes first")])
def test_what_does_not_fit_is_said(settings, expected):
    with pytest.raises(ValueError, match=expected):
        models.build("blazeface", **{"input_shape": (128, 128, 3), "classes": 1, **settings})
