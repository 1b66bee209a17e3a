"""Embeddings of texts for MediaPipe: files are measured as others are, and its vectors are the trained model's."""
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from export.keras_models import file as keras_file
from tests.conftest import command
from tests.export.targets.test_mediapipe import needs_mediapipe
from tests.export.targets.test_text_embedder import EMBED, cosines
from tests.export.tflite.test_metadata import mediapipe
from tests.pipelines.tasks.text.test_mediapipe import read_data

RECIPE = """\
name: near
task: sentence_embedding
data:
  source: {summaries: [keras]}
  tokens: {tokenizer: {wordpiece: 300}, length: 24}
  batch: 32
model: {builder: bert_embedder, depth: 1, units: 32, heads: 2}
train: {epochs: 1, optimizer: adamw, schedule: {cosine: 0.005}}
compress: {variants: [float32, int8], calibration: {examples: 40}}
export: {targets: [litert, mediapipe]}
verify: {runs: 10}
gates: {float32.max_error: "<= 1e-4"}
"""
TEXTS = ["Builds a model from its configuration.", "Return the mean of the values", "loss, or metric?", "A",
         "THE LAYER"]


@pytest.mark.slow
@needs_mediapipe
def test_mediapipe_embeds_as_the_trained_model_does(tmp_path, monkeypatch):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    done = command("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = {f"{one['target']} {one['variant']}": one["metrics"] for one in
                json.loads((tmp_path / "r.json").read_text())["artifacts"]}
    run = tmp_path / "runs" / "near" / "latest"
    monkeypatch.chdir(tmp_path)
    data = read_data(tmp_path, "recipe.yaml")
    tokens = np.stack([data.features["tokens"].decode(tf.constant(text.encode()), data.index.learnt["tokens"]).numpy()
                       for text in TEXTS])
    model = keras_file.load(next(run.glob("train/model.keras")))
    expected = np.array(keras.tree.flatten(model(tokens, training=False))[0])
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    for variant, least in (("float32", 1 - 1e-5), ("int8", 0.95)):
        assert measured[f"litert {variant}"] == measured[f"mediapipe {variant}"]
        file = run / "package" / "bundle" / "mediapipe" / f"{variant}.tflite"
        mediapipe(EMBED, file, tmp_path / "texts.json", tmp_path / "embeddings.npy")
        assert cosines(np.load(tmp_path / "embeddings.npy"), expected).min() > least
