"""Texts from a CSV file to verified files: strings in on a server, and what an app needs to cut text."""
import csv
import json

import numpy as np
import pytest
import tensorflow as tf
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from export.predictors import open_predictor
from pipelines.ingest.data import Data
from pipelines.ingest.index import Index
from pipelines.recipe import file as recipe_file
from serving.client import GrpcClient, RestClient
from serving.embedded import serving
from tests.conftest import command

ODD = ["", " \n", "ゾゾゾ", "great " * 1000, "so happy :)"]


@pytest.fixture(scope="module")
def results(moods):
    return json.loads((moods.folder / "r.json").read_text())


@pytest.fixture(scope="module")
def data(moods):
    """Return the run's data, read where it was run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(moods.folder)
        recipe = recipe_file.read(moods.folder / "recipe.yaml")
        index = Index.model_validate_json((moods.run / "ingest" / "index.json").read_bytes())
        yield Data(recipe.data, recipe.task, index, recipe.seed)


def test_every_file_is_as_good_as_what_was_trained(results):
    assert results["reference"]["metrics"]["accuracy"] > 0.7
    files = {one["variant"] if one["target"] == "litert" else one["target"]: one for one in results["artifacts"]}
    assert files["float32"]["max_error"] < 1e-4 and files["float32"]["agreement"] == 1
    assert files["int8"]["drop"]["accuracy"] <= 0.03
    assert set(files["saved_model"]["served"]) == {"grpc", "rest"}


def test_the_baselines_are_those_fitted_by_hand_on_the_same_texts(moods, results, data):
    with open(moods.folder / "moods.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parts = {part: [rows[position] for position in data.index.splits[part].positions] for part in ("train", "test")}
    vectors = TfidfVectorizer().fit([row["review"] for row in parts["train"]])
    model = LogisticRegression(max_iter=5000).fit(vectors.transform([row["review"] for row in parts["train"]]),
                                                  [row["mood"] for row in parts["train"]])
    said = model.predict(vectors.transform([row["review"] for row in parts["test"]]))
    beside = results["reference"]["baselines"]
    assert list(beside) == ["majority_class", "tf_idf_logistic_regression"]
    right = np.mean([answer == row["mood"] for answer, row in zip(said, parts["test"], strict=True)])
    assert beside["tf_idf_logistic_regression"]["accuracy"] == pytest.approx(right, abs=1e-6)
    counts = data.index.counts["test"]["label"]
    assert beside["majority_class"]["accuracy"] == pytest.approx(max(counts) / sum(counts), abs=1e-6)


def test_a_server_takes_strings_and_answers_as_a_phone_does_with_tokens(moods, data):
    served = open_predictor(moods.bundle / "saved_model" / "1")
    phone = open_predictor(moods.bundle / "litert" / "float32.tflite")
    texts = [*ODD, "I hate this", "what a lovely day"]
    answers = served.predict({"text": np.array([text.encode() for text in [*texts]] + [b"\xff\xfeday"], object)},
                             "serving_bytes")
    feature, learnt = data.features["tokens"], data.index.learnt["tokens"]
    tokens = np.stack([feature.decode(tf.constant(text.encode()), learnt).numpy() for text in texts])
    logits = phone.predict({"tokens": tokens})["logits"]
    np.testing.assert_allclose(answers["logits"][:-1], logits, atol=1e-5)
    np.testing.assert_allclose(answers["scores"].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(answers["logits"][0], answers["logits"][1], atol=1e-6)  # nothing, and white space
    np.testing.assert_allclose(served.predict({"tokens": tokens})["logits"], logits, atol=1e-5)


def test_the_embedded_server_takes_strings_over_both_protocols(moods):
    texts = np.array([b"I hate this", b"what a lovely day", b"", b"\xff\xfe"], object)
    expected = open_predictor(moods.bundle / "saved_model" / "1").predict({"text": texts}, "serving_bytes")["scores"]
    with serving(moods.bundle / "saved_model", "moods") as running:
        with GrpcClient(running.grpc, "moods") as client:
            np.testing.assert_allclose(client.predict({"text": texts}, "serving_bytes")["scores"], expected, atol=1e-6)
        with RestClient(running.rest, "moods", signature="serving_bytes") as client:
            np.testing.assert_allclose(client.predict({"text": texts})["scores"], expected, atol=1e-6)


def test_the_bundle_says_how_text_is_cut(moods, data):
    said = json.loads((moods.bundle / "tokenizer.json").read_text())
    assert {path.name for path in (moods.bundle / "code").rglob("*okenizer.*")} == {
        "tokenizer.py", "Tokenizer.kt", "Tokenizer.swift"}
    assert (said["kind"], said["length"], said["lower"], said["ends"]) == ("word", 24, True, False)
    assert said["vocabulary"] == data.index.learnt["tokens"].names
    model = json.loads((moods.bundle / "model.json").read_text())["models"][0]
    assert model["inputs"][0]["dtype"] == "int32" and model["inputs"][0]["shape"] == [1, 24]


def test_predict_says_a_class_of_each_line(moods):
    (moods.folder / "mine.txt").write_text("I love it!\n\nterrible, sad and bad\n")
    done = command("predict", str(moods.run), "mine.txt", cwd=moods.folder)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and [line.split("  ")[0] for line in lines] == ["mine.txt line 1", "mine.txt line 3"]
    assert lines[0].split()[3] == "positive" and lines[1].split()[3] == "negative"
