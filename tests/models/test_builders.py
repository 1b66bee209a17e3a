"""The builders against their papers."""
import numpy as np
import pytest

import models


@pytest.mark.parametrize(("name", "shape", "classes", "weights"), [
    ("resnet8", (32, 32, 3), 10, 78_666),  # MLPerf Tiny, github.com/mlcommons/tiny
    ("lenet5", (32, 32, 1), 10, 60_000 + 850),  # the paper's C1 to F6, and ten logits in the place of its RBF units
    ("mobilenet_v2", (224, 224, 3), 1000, 3_538_984),  # keras.applications
])
def test_has_the_papers_number_of_weights(name, shape, classes, weights):
    assert models.build(name, input_shape=shape, classes=classes).count_params() == weights


def test_lenet_c3_is_connected_as_in_table_1_of_the_paper():
    from models.lenet5 import C3_INPUTS

    model = models.build("lenet5", input_shape=(32, 32, 1), classes=10)
    c3 = [layer for layer in model.layers if layer.name.startswith("c3_")]
    assert len(c3) == 16
    assert sum(layer.count_params() for layer in c3) == 1_516
    assert sorted(len(inputs) for inputs in C3_INPUTS) == [3] * 6 + [4] * 9 + [6]
    assert len(set(C3_INPUTS)) == 16


@pytest.mark.parametrize("name", [builder.name for builder in models.builders()])
def test_takes_raw_pixels_and_gives_finite_logits(name):
    model = models.build(name, input_shape=(32, 32, 3), classes=7)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    first = model.layers[1]
    assert type(first).__name__ == "Rescaling"
    assert abs(np.asarray(first(pixels))).max() <= 1.2
    logits = np.asarray(model(pixels, training=False))
    assert logits.shape == (2, 7)
    assert np.isfinite(logits).all()


def test_an_unknown_builder_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean resnet8"):
        models.build("resnet9", input_shape=(32, 32, 3), classes=10)


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="model resnet8: widht"):
        models.build("resnet8", input_shape=(32, 32, 3), classes=10, widht=3)


@pytest.mark.parametrize("name", ["lenet5", "mobilenet_v2"])
def test_pictures_that_are_too_small_are_refused_with_what_to_set(name):
    with pytest.raises(ValueError, match=r"at least 32 x 32 pixels, got 28 x 28.*data\.image\.size"):
        models.build(name, input_shape=(28, 28, 3), classes=10)
