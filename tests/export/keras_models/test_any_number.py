"""SavedModels for one example, served for any number where each of their outputs is of one too."""
import numpy as np
import pytest
import tensorflow as tf

from export.frameworks.program import TOGETHER
from export.keras_models import as_graph

IMAGES = np.random.default_rng(0).uniform(size=(3, 4, 2)).astype("float32")


def saved(folder, function, **others):
    module = tf.Module()
    module.call = tf.function(function, input_signature=[tf.TensorSpec((1, 4, 2), tf.float32, "image")])
    for name, other in others.items():
        setattr(module, name, tf.function(other, input_signature=[tf.TensorSpec((None, 4, 2), tf.float32, "image")]))
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.call})
    return folder


def served(path, folder):
    assert as_graph.served(path, folder, as_graph.signature_of(path).inputs)
    return tf.saved_model.load(str(folder)).signatures["serving_default"]


def of_one(image):
    """Sums that would be of all examples together, were they given so, and what only one example has the size for."""
    return {"sums": tf.reshape(tf.reduce_sum(image), (1, 1)), "last": tf.reshape(image, (1, 8))[:, 7:]}


def test_one_example_is_asked_after_the_other(tmp_path):
    call = served(saved(tmp_path / "saved", of_one), tmp_path / "served")
    for count in (1, 3):
        answered = call(image=tf.constant(IMAGES[:count]))
        np.testing.assert_allclose(answered["sums"][:, 0], IMAGES[:count].sum((1, 2)), rtol=1e-6)
        np.testing.assert_array_equal(answered["last"][:, 0], IMAGES[:count, 3, 1])


def test_a_function_of_any_number_is_taken_where_one_was_written_beside(tmp_path):
    def together(image):
        return {"sums": tf.reduce_sum(image, (1, 2))[:, None], "last": image[:, 3, 1:] + 1.0}

    both = saved(tmp_path / "saved", of_one, **{TOGETHER: together})
    answered = served(both, tmp_path / "served")(image=tf.constant(IMAGES))
    np.testing.assert_array_equal(answered["last"][:, 0], IMAGES[:, 3, 1] + 1)


@pytest.mark.parametrize("shape", [(4, 2), ()])
def test_what_gives_something_that_is_not_of_an_example_stays_for_one(tmp_path, shape):
    def rows(image):
        return {"rows": tf.reshape(image, (4, 2)) if shape else tf.reduce_sum(image)}

    call = served(saved(tmp_path / "saved", rows), tmp_path / "served")
    assert call.structured_input_signature[1]["image"].shape == (1, 4, 2)
    assert call(image=tf.constant(IMAGES[:1]))["rows"].shape == shape
