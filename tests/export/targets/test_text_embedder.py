"""Files of embeddings of texts as MediaPipe's TextEmbedder opens them: its vectors are the trained model's."""
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from export.conversion import convert
from export.keras_models import graph
from export.predictors import BertPredictor, open_predictor
from export.signature import DEFAULT, Signature, Tensor
from export.targets import mediapipe as target
from export.tflite import metadata, phone
from export.tflite.metadata import Description
from pipelines.features.feature import Field
from pipelines.features.text import Text
from pipelines.features.tokenizers.regex import Regex
from pipelines.features.tokenizers.wordpiece import WordPiece
from tests.export.targets.test_mediapipe import needs_mediapipe
from tests.export.tflite.test_metadata import mediapipe
from tests.pipelines.features.tokenizers.odd_strings import real

LENGTH, UNITS = 16, 16
EMBED = """
import json, sys
import numpy
from mediapipe.tasks.python import BaseOptions, text
path, texts, embeddings = sys.argv[1:]
options = text.TextEmbedderOptions(base_options=BaseOptions(model_asset_path=path))
with text.TextEmbedder.create_from_options(options) as embedder:
    numpy.save(embeddings, numpy.stack([embedder.embed(one).embeddings[0].embedding for one in json.load(open(texts))]))
"""
CASES = {"wordpiece": (WordPiece(most=200), True), "without ends": (WordPiece(most=200), False),
         "regex": (Regex(most=200), False)}


class Made:
    """An encoder of texts of a kind whose weights are drawn anew, and files of it for MediaPipe."""

    def __init__(self, kind, folder):
        tokenizer, ends = CASES[kind]
        self.text = Text(tokenizer=tokenizer, length=LENGTH, ends=ends)
        self.learnt = self.text.learn(Field(kind="text"), [one.encode() for one in real(200)])
        self.model = models.build("bert_embedder", length=LENGTH, vocabulary=len(self.learnt.names), depth=1,
                                  units=UNITS, heads=2)
        generator = np.random.default_rng(0)
        for weight in self.model.weights:
            much = 2 if weight is self.model.get_layer("embedding").embeddings else 0.3
            weight.assign(weight + much * generator.normal(size=weight.shape))
        signature = Signature(inputs=(self.text.tensor("tokens", self.learnt),), outputs=(
            Tensor(name="embedding", dtype="float32", shape=(UNITS,), role="embedding"),))
        convert.float_graph(self.model, lambda one: [graph.function(one, signature)], folder / "graph")
        about = Description(name="near", task="sentence_embedding", version="1.0.0", signature=signature)
        calibration = [(DEFAULT, {"tokens": self.tokens(real(100))})]
        self.files = {}
        for variant in ("float32", "int8"):
            content = convert.convert(folder / "graph", variant, calibration)
            self.files[variant] = folder / f"{variant}.tflite"
            self.files[variant].write_bytes(
                phone.ready(content, about) if kind == "regex" else target.written(
                    phone.with_unsigned_output(content), about, self.learnt.names, ends=ends))

    def tokens(self, texts):
        return np.stack([self.text.decode(tf.constant(one.encode()), self.learnt).numpy() for one in texts])

    def embeddings(self, texts):
        return np.array(keras.tree.flatten(self.model(self.tokens(texts)))[0])


@pytest.fixture(scope="module", params=["wordpiece", *(
    pytest.param(kind, marks=pytest.mark.slow) for kind in ("without ends", "regex"))])
def made(request, tmp_path_factory):
    return Made(request.param, tmp_path_factory.mktemp("embedder"))


def cosines(one, other):
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def test_a_file_has_no_classes_and_is_asked_tokens(made):
    texts = real(30)
    for variant, least in (("float32", 1 - 1e-5), ("int8", 0.95)):
        predictor = open_predictor(made.files[variant])
        assert isinstance(predictor, BertPredictor) == (made.text.tokenizer.entry_name == "wordpiece")
        assert metadata.read(made.files[variant].read_bytes()).labels == []
        answers = predictor.predict({"tokens": made.tokens(texts)})["embedding"]
        assert cosines(answers, made.embeddings(texts)).min() > least


@pytest.mark.slow
@needs_mediapipe
@pytest.mark.parametrize(("variant", "least"), [("float32", 1 - 1e-5), ("int8", 0.95)])
def test_mediapipe_gives_the_vectors_of_the_trained_model(made, tmp_path, variant, least):
    """Of ASCII, of which MediaPipe makes the same tokens."""
    texts = [text for text in real(300) if text.isascii()][:60]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    mediapipe(EMBED, made.files[variant], tmp_path / "texts.json", tmp_path / "embeddings.npy")
    given, expected = np.load(tmp_path / "embeddings.npy"), made.embeddings(texts)
    assert given.shape == (60, UNITS) and cosines(given, expected).min() > least
    middle = expected.mean(axis=0)
    own, others = (cosines(given - middle, np.roll(expected, by, axis=0) - middle).mean() for by in (0, 1))
    assert own > 0.95 > 0.5 > others, "the texts have vectors of their own"
