"""A served Transformer with random weights, and the Keras model that it must go on as."""
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import models
from export.predictors import Predictor, open_predictor
from export.targets import saved_model
from pipelines.features.tokenizers.tokenizer import END, PADDING, START, UNKNOWN
from pipelines.ingest.data import Data
from pipelines.tasks.language_model import LanguageModel, generation
from tests.pipelines.tasks.small_data import data_of

LINES = ["In the beginning", "was the word,", "and the word was été", "and again the end", "<END> of it: {|}"]
LENGTH = 40
BUILDERS = {"gpt": {}, "llama": {"groups": 2}, "mistral": {"groups": 2, "window": 8}, "qwen2": {}, "qwen3": {},
            "gemma": {}, "gemma3": {"window": 8}}


class Exported(NamedTuple):
    """A network with random weights, and its SavedModel's folder."""

    data: Data
    model: Callable[[np.ndarray], np.ndarray]
    folder: Path
    predictor: Predictor

    def tokens(self, text: str) -> list[int]:
        learnt = self.data.index.learnt["tokens"]
        return self.data.features["tokens"].tokenizer.tokens(tf.constant(text), learnt, 100).numpy().tolist()

    def text(self, tokens) -> str:
        return "".join(self.data.index.learnt["tokens"].names[token] for token in tokens)

    def logits(self, tokens) -> np.ndarray:
        """Return the Keras model's logits behind some tokens, which it reads all, with START before them."""
        row = np.array([START, *tokens] + [PADDING] * (LENGTH - 1 - len(tokens)), np.int32)[None]
        logits = np.asarray(self.model(row))[0, len(tokens)].astype(np.float64)
        logits[[PADDING, UNKNOWN, START]] = -np.inf
        return logits

    def greedy(self, text: str, count: int) -> str:
        """Return a text and what the Keras model adds."""
        return self.text(self.continued(self.tokens(text), count))

    def continued(self, tokens: list[int], count: int) -> list[int]:
        """Return tokens and what the Keras model adds, the likeliest each time."""
        tokens = list(tokens)
        for _ in range(min(count, LENGTH - len(tokens))):
            token = int(self.logits(tokens).argmax())
            if token == END:
                break
            tokens.append(token)
        return tokens

    def sample(self, prompts, count=6, temperature=1.0, top_k=0, top_p=1.0, seed=0):
        """Return what the signature `sample` gives; each setting is one number, or one per prompt."""
        rows = {"count": (count, "int32"), "temperature": (temperature, "float32"), "top_k": (top_k, "int32"),
                "top_p": (top_p, "float32"), "seed": (seed, "int64")}
        inputs = {name: np.broadcast_to(np.array(value, kind), len(prompts)) for name, (value, kind) in rows.items()}
        return self.predictor.predict({"text": texts(prompts), **inputs}, "sample")


def texts(prompts) -> np.ndarray:
    return np.array([prompt.encode() for prompt in prompts], object)


def network(folder: Path, builder: str) -> tuple[Data, keras.Model]:
    """Return a network with large random weights, the same each time, and the data of texts, written into a folder."""
    lines = folder / "lines.txt"
    if not lines.exists():
        lines.write_text("\n".join(LINES * 4))
    task = LanguageModel()
    data = data_of(task, source={"text_lines": {"path": str(lines)}}, tokens={
        "tokenizer": "character", "length": LENGTH, "ends": True})
    keras.utils.set_random_seed(3)
    model = models.build(builder, **task.dimensions(data.index), depth=2, units=16, heads=4, **BUILDERS[builder])
    model.set_weights([4 * weight for weight in model.get_weights()])
    return data, model


def write(folder: Path, builder: str) -> None:
    """Save a network with its signatures that go on with texts."""
    data, model = network(folder, builder)
    saved_model.export(model, folder / "served" / "1", generation.functions(model, data, "tokens"))


def opened(folder: Path, builder: str) -> Exported:
    """Return the network that was saved."""
    data, model = network(folder, builder)
    return Exported(data, whole(model), folder / "served", open_predictor(folder / "served" / "1"))


def whole(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Return what a network makes of all tokens."""
    return tf.function(lambda row: model(row, training=False)["logits"])
