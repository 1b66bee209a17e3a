"""The builders of texts: their sizes against closed forms, and that padding says nothing."""
import numpy as np
import pytest

import models
from export.keras_models import bridge

SMALL = {"length": 12, "vocabulary": 50, "classes": 3}


@pytest.mark.parametrize(("vocabulary", "embedding", "filters", "widths", "classes"), [
    (20_000, 300, 100, (3, 4, 5), 2), (50, 8, 4, (2,), 3), (7, 5, 3, (1, 6), 4)])
def test_a_textcnn_has_kims_parameters(vocabulary, embedding, filters, widths, classes):
    model = models.build("textcnn", length=12, vocabulary=vocabulary, classes=classes, embedding=embedding,
                         filters=filters, widths=widths)
    convolutions = sum((width * embedding + 1) * filters for width in widths)
    assert model.count_params() == vocabulary * embedding + convolutions + (filters * len(widths) + 1) * classes


def test_a_textcnn_finds_the_strongest_answer_of_each_filter():
    """Against the paper's equations 2 to 4 in NumPy, padding as the zero vector."""
    model = models.build("textcnn", **SMALL, embedding=6, filters=5, widths=(2, 3))
    tokens = np.random.default_rng(0).integers(1, 50, (4, 12)).astype("int32")
    tokens[1, 7:] = tokens[2, 1:] = tokens[3] = 0
    convolutions = [layer for layer in model.layers if type(layer).__name__ == "Conv1D"]
    head, bias_of_head = model.get_layer("logits").get_weights()
    vectors = model.get_layer("embedding").get_weights()[0][tokens] * (tokens != 0)[..., None]
    answers = []
    for width, convolution in zip((2, 3), convolutions, strict=True):
        kernel, bias = convolution.get_weights()
        windows = np.stack([vectors[:, start:start + width] for start in range(12 - width + 1)], axis=1)
        answers.append(np.maximum(np.einsum("btwd,wdf->btf", windows, kernel) + bias, 0).max(axis=1))
    expected = np.concatenate(answers, axis=1) @ head + bias_of_head
    np.testing.assert_allclose(np.asarray(model(tokens, training=False)), expected, atol=1e-5)


def test_a_filter_wider_than_a_text_is_refused():
    with pytest.raises(ValueError, match="a filter is 5 tokens wide, and texts have 4"):
        models.build("textcnn", length=4, vocabulary=10, classes=2)


@pytest.mark.parametrize("name", ["textcnn"])
def test_the_bridge_keeps_a_model_of_texts(name):
    model = models.build(name, **SMALL)
    tokens = np.random.default_rng(1).integers(0, 50, (3, 12)).astype("int32")
    np.testing.assert_allclose(np.asarray(bridge.to_tf_keras(model)(tokens)), np.asarray(model(tokens, training=False)),
                               atol=1e-6)
