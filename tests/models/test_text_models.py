"""The builders of texts: their sizes against closed forms, and that padding says nothing."""
import itertools

import numpy as np
import pytest

import models
from export.conversion import convert
from export.keras_models import bridge, graph
from export.predictors import open_predictor
from export.signature import Signature, Tensor

SMALL = {"length": 12, "vocabulary": 50, "classes": 3}


@pytest.mark.parametrize(("vocabulary", "embedding", "filters", "widths", "classes"), [
    (50, 8, 4, (2,), 3), (7, 5, 3, (1, 6), 4)])
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


@pytest.mark.parametrize(("name", "gates", "biases"), [("text_lstm", 4, 1), ("text_gru", 3, 2), ("text_rnn", 1, 1)])
@pytest.mark.parametrize("ways", [1, 2])
def test_recurrent_models_have_the_papers_parameters(name, gates, biases, ways):
    model = models.build(name, **SMALL, embedding=8, units=(6, 5), bidirectional=ways == 2)
    first = ways * gates * (6 * (6 + 8) + 6 * biases)
    second = ways * gates * (5 * (5 + 6 * ways) + 5 * biases)
    assert model.count_params() == 50 * 8 + first + second + (5 * ways + 1) * 3


def test_a_fasttext_has_the_papers_parameters():
    model = models.build("fasttext", **SMALL, embedding=6, buckets=70)
    assert model.count_params() == (50 + 70) * 6 + 6 * 3
    assert models.build("fasttext", **SMALL, embedding=6, ngrams=1).count_params() == 50 * 6 + 6 * 3


def test_fasttext_is_the_mean_of_words_and_ngrams():
    """Against the paper's model in plain Python: an n-gram is the same one wherever it stands."""
    model = models.build("fasttext", **SMALL, embedding=6, ngrams=3, buckets=97)
    words, hashed, head = (model.get_layer(name).get_weights()[0] for name in ("embedding", "ngrams", "logits"))
    factor = (2**31 - 1 - 50) // 97
    factor -= 1 - factor % 2
    texts = [[4, 9, 4, 9, 30], [7], []]
    expected = []
    for text in texts:
        pairs = [(first * factor + second) % 97 for first, second in itertools.pairwise(text)]
        triples = [(pair * factor + third) % 97 for pair, third in zip(pairs, text[2:], strict=False)]
        vectors = [*words[text], *hashed[pairs], *hashed[triples]] if text else []
        expected.append(np.sum(vectors, axis=0) / len(vectors) @ head if text else np.zeros(3))
    tokens = np.array([text + [0] * (12 - len(text)) for text in texts], "int32")
    np.testing.assert_allclose(np.asarray(model(tokens, training=False)), expected, atol=1e-6)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_padding_says_nothing(pooling):
    """The same text in a longer model, with the same weights, has the same logits."""
    settings = {"embedding": 8, "units": (6,), "pooling": pooling, "attention": 5}
    short = models.build("text_gru", **SMALL, **settings)
    long = models.build("text_gru", **SMALL | {"length": 30}, **settings)
    long.set_weights(short.get_weights())
    tokens = np.random.default_rng(2).integers(1, 50, (5, 12)).astype("int32")
    tokens[1, 5:] = tokens[2, 1:] = 0
    padded = np.pad(tokens, [(0, 0), (0, 18)])
    np.testing.assert_allclose(np.asarray(long(padded, training=False)), np.asarray(short(tokens, training=False)),
                               atol=1e-5)
    empty = np.asarray(long(np.zeros((1, 30), "int32"), training=False))
    assert np.isfinite(empty).all()


def test_attention_weighs_steps_by_their_agreement():
    """Equations 5 to 7 of Yang et al., from what the recurrent layers give."""
    import keras

    model = models.build("text_rnn", **SMALL, embedding=8, units=(6,), pooling="attention", attention=5)
    tokens = np.random.default_rng(3).integers(1, 50, (2, 12)).astype("int32")
    steps = next(layer for layer in model.layers if type(layer).__name__ == "Concatenate").output
    steps = np.asarray(keras.Model(model.input, steps)(tokens, training=False))
    dense = next(layer for layer in model.layers if type(layer).__name__ == "Dense" and layer.units == 5)
    weights, bias = dense.get_weights()
    agreement = np.tanh(steps @ weights + bias) @ model.get_layer("agreement").get_weights()[0]
    share = np.exp(agreement) / np.exp(agreement).sum(axis=1, keepdims=True)
    head, offset = model.get_layer("logits").get_weights()
    np.testing.assert_allclose(np.asarray(model(tokens, training=False)), (share * steps).sum(axis=1) @ head + offset,
                               atol=1e-5)


def test_an_ngram_longer_than_a_text_is_refused():
    with pytest.raises(ValueError, match="n-grams have up to 3 tokens, and texts have 2; give ngrams: 2"):
        models.build("fasttext", length=2, vocabulary=10, classes=2, ngrams=3)


@pytest.mark.parametrize("name", ["textcnn", "text_lstm", "text_gru", "text_rnn", "fasttext"])
def test_the_bridge_keeps_a_model_of_texts(name):
    model = models.build(name, **SMALL)
    tokens = np.random.default_rng(1).integers(0, 50, (3, 12)).astype("int32")
    np.testing.assert_allclose(np.asarray(bridge.to_tf_keras(model)(tokens)), np.asarray(model(tokens, training=False)),
                               atol=1e-6)


@pytest.mark.parametrize("pooling", ["last", "max", "attention"])
def test_a_file_for_phones_answers_as_the_model_does(pooling, tmp_path):
    model = models.build("text_lstm", **SMALL, embedding=8, units=(6,), pooling=pooling)
    signature = Signature(inputs=(Tensor(name="tokens", dtype="int32", shape=(12,), role="tokens"),),
                          outputs=(Tensor(name="logits", dtype="float32", shape=(3,), role="logits"),))
    convert.float_graph(model, lambda model: [graph.function(model, signature)], tmp_path / "graph")
    (tmp_path / "m.tflite").write_bytes(convert.convert(tmp_path / "graph", "float32"))
    tokens = np.random.default_rng(4).integers(1, 50, (4, 12)).astype("int32")
    tokens[1, 5:] = tokens[2, 1:] = tokens[3] = 0
    answers = open_predictor(tmp_path / "m.tflite").predict({"tokens": tokens})["logits"]
    np.testing.assert_allclose(answers, np.asarray(model(tokens, training=False)), atol=1e-5)
