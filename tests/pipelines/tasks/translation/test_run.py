"""Pairs of texts to verified files that translate: encoded once, written token by token."""
import json

import numpy as np
import pytest
import sacrebleu
import scipy.special

from export.predictors import open_predictor
from pipelines.features.tokenizers.tokenizer import END, START
from pipelines.ingest.data import Data
from pipelines.ingest.index import Index
from pipelines.recipe import file as recipe_file
from pipelines.tasks.translation import driver
from tests.conftest import command

pytestmark = pytest.mark.slow  # a whole run


@pytest.fixture(scope="module")
def results(numbers):
    return json.loads((numbers.folder / "r.json").read_text())


@pytest.fixture(scope="module")
def data(numbers):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(numbers.folder)
        recipe = recipe_file.read(numbers.folder / "recipe.yaml")
        index = Index.model_validate_json((numbers.run / "ingest" / "index.json").read_bytes())
        yield Data(recipe.data, recipe.task.of_model(recipe.model), index, recipe.seed)


def test_every_file_translates_as_what_was_trained(results):
    files = {one["variant"] if one["target"] == "litert" else one["target"]: one for one in results["artifacts"]}
    assert files["float32"]["drop"]["chrf"] == 0 and files["float32"]["max_error"] < 1e-4
    assert set(files["saved_model"]["served"]) == {"grpc", "rest"}


def test_copying_the_source_stands_beside(numbers, results, data):
    rows = [line.split("\t") for line in (numbers.folder / "numbers.tsv").read_text().splitlines()]
    chosen = [rows[position] for position in data.index.splits["test"].positions]
    expected = sacrebleu.corpus_chrf([source for source, _ in chosen], [[target for _, target in chosen]]).score
    assert results["reference"]["baselines"]["copy_source"]["chrf"] == pytest.approx(expected, abs=1e-4)
    assert results["reference"]["metrics"]["chrf"] > expected + 10


def test_steps_say_what_the_whole_graph_says_of_true_translations(numbers, data):
    """The decoder that is asked token by token, against the one that learnt with the translation before its eyes."""
    phone = open_predictor(numbers.bundle / "litert" / "float32.tflite")
    inputs, _ = data.arrays("test", 6)
    whole = open_predictor(numbers.run / "train" / "model.keras").predict(inputs)["logits"]
    steps = driver.InSteps(phone)
    state = steps.begin(inputs)
    for place in range(inputs["previous"].shape[1]):
        logits, state = steps.step(inputs["previous"][:, place], state)
        there = inputs["previous"][:, place] != 0
        np.testing.assert_allclose(logits[there], whole[there, place], atol=1e-4)


def test_a_wide_beam_finds_no_worse_texts_than_greed(numbers, data):
    steps = driver.InSteps(open_predictor(numbers.bundle / "litert" / "float32.tflite"))
    inputs, _ = data.arrays("test", 5)

    def mean(text):
        state, total, last = steps.begin({"tokens": inputs["tokens"][row:row + 1]}, ), 0.0, START
        for token in text:
            logits, state = steps.step(np.array([last]), state)
            total += scipy.special.log_softmax(driver._allowed(logits), axis=-1)[0, token]
            last = token
        return total / len(text)

    greedy, beam = driver.greedy(steps, inputs, 12), driver.beam(steps, inputs, 12, 6)
    for row in range(5):
        texts = [one[row][one[row] != 0].tolist() for one in (greedy, beam)]
        assert texts[1][-1] == END and mean(texts[1]) >= mean(texts[0]) - 1e-6


def test_no_sentence_is_in_two_splits(data):
    table = data.section.source.tables()["train"].columns["sentence"]
    parts = [set(table[split.positions].tolist()) for split in data.index.splits.values()]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_predict_says_a_translation_of_each_line(numbers):
    (numbers.folder / "mine.txt").write_text("4711\n\n12\n")
    done = command("predict", str(numbers.bundle / "litert" / "float32.tflite"), "mine.txt", cwd=numbers.folder)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[0] for line in lines] == ["mine.txt line 1", "mine.txt line 3"]
    assert set(lines[0].split()[-1]) <= set("abcdefghij")
