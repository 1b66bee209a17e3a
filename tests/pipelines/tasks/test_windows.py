"""Windows that slide over images: they cover all of it, give what the model gives, and a graph does the same."""
import itertools

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from export.signature import Function, Signature, Tensor
from pipelines.tasks import windows
from pipelines.tasks.semantic_segmentation import SemanticSegmentation


@pytest.mark.parametrize(("length", "window", "overlap"), [
    (16, 16, 0.25), (17, 16, 0.25), (100, 16, 0.25), (100, 16, 0.0), (64, 16, 0.0), (50, 16, 0.9)])
def test_windows_cover_the_length_and_overlap_as_asked(length, window, overlap):
    starts = windows.starts(length, window, overlap)
    assert starts[0] == 0 and starts[-1] == length - window
    stride = max(1, window * (1 - overlap))
    assert all(after - before <= stride + 0.5 for before, after in itertools.pairwise(starts))
    if overlap == 0 and length % window == 0:
        assert starts == list(range(0, length, window))


def test_what_depends_on_a_pixel_alone_comes_out_as_it_is():
    generator = np.random.default_rng(0)
    for shape in ((2, 37, 53, 1), (1, 10, 50, 1), (1, 9, 11, 1), (1, 16, 24, 1)):
        images = generator.normal(size=shape).astype("float32")
        result = windows.slid(lambda parts: {"logits": np.concatenate([parts, -2 * parts], -1)}, images, (16, 24), 0.25)
        np.testing.assert_allclose(result["logits"], np.concatenate([images, -2 * images], -1), rtol=1e-5, atol=1e-6)


def test_answers_from_the_middle_count_most():
    """A model that says how far a pixel is from the middle of its window: windows are averaged by their weights."""
    row = np.abs(np.arange(16) - 7.5)
    result = windows.slid(lambda parts: {"x": np.broadcast_to(row[:, None, None], (len(parts), 16, 16, 1))},
                          np.zeros((1, 24, 16, 1), "float32"), (16, 16), 0.5)["x"][0, :, 0, 0]
    counted = windows.weights((16, 16))[:, 0]
    above, below = counted[12], counted[4]
    assert result[12] == pytest.approx((above * row[12] + below * row[4]) / (above + below), rel=1e-5)
    assert result[0] == row[0] and result[23] == row[15]
    assert counted.min() >= windows.LEAST and windows.weights((15, 15))[7, 7] == 1


def function_of(kernel):
    """Return the function of a convolution, whose answers at a window's border depend on where that is."""
    image = Tensor(name="image", dtype="uint8", shape=(16, 24, 1), role="image")
    logits = Tensor(name="logits", dtype="float32", shape=(16, 24, 3), role="logits")

    def call(image):
        return {"logits": tf.nn.conv2d(tf.cast(image, tf.float32), kernel, 1, "SAME")}

    return Function(Signature(inputs=(image,), outputs=(logits,)), call)


@pytest.mark.parametrize("shape", [(2, 37, 53, 1), (1, 10, 50, 1), (1, 16, 24, 1), (3, 9, 11, 1)])
def test_a_graph_gives_what_numpy_gives(shape):
    generator = np.random.default_rng(0)
    function = function_of(generator.normal(size=(5, 5, 1, 3)).astype("float32"))
    images = generator.integers(0, 256, shape).astype("uint8")
    expected = windows.slid(lambda parts: {"logits": function.call(parts)["logits"].numpy()}, images, (16, 24), 0.3)
    served = windows.windowed(function, 0.3)
    (taken,), (given,) = served.signature.inputs, served.signature.outputs
    assert (taken.shape, given.shape) == ((None, None, 1), (None, None, 3)) and taken.dtype == "uint8"
    graph = tf.function(served.call, autograph=False).get_concrete_function(
        **{one.name: one for one in served.specs(None)})
    np.testing.assert_allclose(graph(image=tf.constant(images))["logits"], expected["logits"], rtol=1e-4, atol=1e-2)


def test_overlaps_that_cannot_be_are_refused():
    assert SemanticSegmentation(windows=0.25).windows == 0.25 and SemanticSegmentation().windows is None
    with pytest.raises(ValidationError):
        SemanticSegmentation(windows=1.0)
