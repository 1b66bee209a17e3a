"""Texts to a server's Transformer: it goes on, with what it has read kept, as the Keras model does that reads all again
for each token; drawn tokens have the settings' probabilities."""
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from export.predictors import Predictor, open_predictor
from export.targets import saved_model
from pipelines.features.tokenizers.tokenizer import END, PADDING, START, UNKNOWN
from pipelines.ingest.data import Data
from pipelines.tasks.language_model import LanguageModel
from serving.client import GrpcClient, RestClient
from serving.embedded import serving
from tests.pipelines.tasks.small_data import data_of

LINES = ["In the beginning", "was the word,", "and the word was été", "and again the end"]
LENGTH = 40
PROMPTS = ["In the", "", "and the word was", "t", "the end of all that is", "a" * (LENGTH - 1), "été"]
BUILDERS = {"gpt": {}, "llama": {"groups": 2}}


class Exported(NamedTuple):
    """A network with random weights, and its SavedModel's folder."""

    data: Data
    model: keras.Model
    folder: str
    predictor: Predictor

    def tokens(self, text: str) -> list[int]:
        learnt = self.data.index.learnt["tokens"]
        return self.data.features["tokens"].tokenizer.tokens(tf.constant(text), learnt, 100).numpy().tolist()

    def text(self, tokens) -> str:
        return "".join(self.data.index.learnt["tokens"].names[token] for token in tokens)

    def logits(self, tokens) -> np.ndarray:
        """Return the Keras model's logits behind some tokens, which it reads all, with START before them."""
        row = np.array([START, *tokens] + [PADDING] * (LENGTH - 1 - len(tokens)), np.int32)[None]
        logits = np.asarray(self.model(row)["logits"])[0, len(tokens)].astype(np.float64)
        logits[[PADDING, UNKNOWN, START]] = -np.inf
        return logits

    def greedy(self, text: str, count: int) -> str:
        tokens = self.tokens(text)
        for _ in range(min(count, LENGTH - len(tokens))):
            token = int(self.logits(tokens).argmax())
            if token == END:
                break
            tokens.append(token)
        return self.text(tokens)

    def sample(self, prompts, count=6, temperature=1.0, top_k=0, top_p=1.0, seed=0):
        """Return what the signature `sample` gives; each setting is one number, or one per prompt."""
        rows = {"count": (count, "int32"), "temperature": (temperature, "float32"), "top_k": (top_k, "int32"),
                "top_p": (top_p, "float32"), "seed": (seed, "int64")}
        inputs = {name: np.broadcast_to(np.array(value, kind), len(prompts)) for name, (value, kind) in rows.items()}
        return self.predictor.predict({"text": texts(prompts), **inputs}, "sample")


def texts(prompts) -> np.ndarray:
    return np.array([prompt.encode() for prompt in prompts], object)


@pytest.fixture(scope="module", params=BUILDERS)
def exported(request, tmp_path_factory) -> Exported:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "lines.txt").write_text("\n".join(LINES * 4))
    task = LanguageModel()
    data = data_of(task, source={"text_lines": {"path": str(folder / "lines.txt")}}, tokens={
        "tokenizer": "character", "length": LENGTH, "ends": True})
    keras.utils.set_random_seed(3)
    model = models.build(request.param, **task.dimensions(data.index), depth=2, units=16, heads=4,
                         **BUILDERS[request.param])
    model.set_weights([4 * weight for weight in model.get_weights()])
    saved_model.export(model, folder / "served" / "1", task.functions(model, data, "server"))
    return Exported(data, model, folder / "served", open_predictor(folder / "served" / "1"))


def test_it_goes_on_as_the_keras_model_that_keeps_nothing(exported):
    counts = [30, 40, 12, 1, 10**9, 5, 0]
    expected = [exported.greedy(prompt, count) for prompt, count in zip(PROMPTS, counts, strict=True)]
    assert len(set(expected)) == len(PROMPTS) and len(expected[1]) > 3
    inputs = {"text": texts(PROMPTS), "count": np.array(counts, np.int32)}
    said = exported.predictor.predict(inputs, "generate")["generated"].tolist()
    assert [text.decode() for text in said] == expected
    alone = [exported.predictor.predict({name: value[row:row + 1] for name, value in inputs.items()}, "generate")[
        "generated"][0] for row in range(len(PROMPTS))]
    assert alone == said
    with serving(exported.folder, "language") as running:
        with GrpcClient(running.grpc, "language") as client:
            assert client.predict(inputs, "generate")["generated"].tolist() == said
        with RestClient(running.rest, "language", signature="generate") as client:
            assert client.predict(inputs)["generated"].tolist() == said
