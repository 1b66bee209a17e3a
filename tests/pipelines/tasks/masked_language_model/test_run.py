"""An encoder is pretrained, tuned on from its recipe, and fills in blanks."""
import json

import numpy as np
import pytest

from export.predictors import open_predictor
from pipelines.features.tokenizers.mask import MASK
from tests.conftest import run_here

pytestmark = pytest.mark.slow  # two whole runs
FIRST = """\
name: guesses
task: masked_language_model
data:
  source: {bible: {window: 100}}
  tokens: {tokenizer: {wordpiece: 400}, length: 32, whole_words: true}
  batch: 32
model: {builder: bert_mlm, depth: 1, units: 32, heads: 2}
train: {epochs: 2, optimizer: adamw, schedule: {cosine: 0.005}}
compress: {variants: [float32, int8], calibration: {examples: 40}}
export: {targets: [litert, saved_model]}
verify: {runs: 10}
gates: {accuracy: ">= most_frequent_token", float32.max_error: "<= 1e-4"}
"""
SECOND = """\
name: tuned
task: text_classification
data:
  source: vader
  tokens: {tokenizer: {pretrained: first.yaml}, length: 24, ends: true}
  batch: 64
model: {builder: bert, depth: 1, units: 32, heads: 2, pooling: mean, weights: {pretrained: first.yaml}}
train: {epochs: 1, optimizer: adamw, schedule: {cosine: 0.005}}
compress: {variants: [float32, int8], calibration: {examples: 40}}
export: {targets: [litert]}
verify: {runs: 10}
gates: {accuracy: ">= majority_class", float32.max_error: "<= 1e-4", int8.drop: "<= 0.01"}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the second recipe was run, and then the first to its end."""
    folder = tmp_path_factory.mktemp("guesses")
    (folder / "first.yaml").write_text(FIRST)
    (folder / "second.yaml").write_text(SECOND)
    for name in ("second", "first"):
        done = run_here("run", f"{name}.yaml", "--no-track", "--json", f"{name}.json", cwd=folder)
        assert done.code == 0, done.out + done.err
        (folder / f"{name}.txt").write_text(done.out)
    return folder


def run_of(folder, name):
    return folder / "runs" / name / "latest"


def test_the_first_recipe_is_trained_before_the_second_and_not_again(folder):
    printed = (folder / "second.txt").read_text()
    assert printed.index("first     first.yaml") < printed.index("then      second.yaml")
    record = json.loads((run_of(folder, "guesses") / "run.json").read_text())
    assert record["stages"]["train"]["cached"] and record["stages"]["ingest"]["cached"]


def test_the_second_starts_from_the_weights_and_the_vocabulary_of_the_first(folder):
    journal = (run_of(folder, "tuned") / "train" / "journal.jsonl").read_text()
    assert "layers start from pretrained weights" in journal
    names = [json.loads((run_of(folder, name) / "ingest" / "index.json").read_text())["learnt"]["tokens"]["names"]
             for name in ("guesses", "tuned")]
    assert names[0] == names[1] and names[0][MASK] == "<MASK>"


def test_files_guess_as_the_trained_model_does(folder):
    results = json.loads((folder / "first.json").read_text())
    reference = results["reference"]["metrics"]
    assert reference["accuracy"] >= results["reference"]["baselines"]["most_frequent_token"]["accuracy"]
    assert all(artifact["metrics"]["accuracy"] == pytest.approx(reference["accuracy"], abs=0.02)
               for artifact in results["artifacts"])


def test_blanks_are_filled_in(folder, tmp_path):
    (tmp_path / "texts.txt").write_text("and he said unto ___ , go ___ the way\n")
    file = run_of(folder, "guesses") / "package" / "bundle" / "litert" / "float32.tflite"
    done = run_here("predict", str(file), str(tmp_path / "texts.txt"), cwd=folder)
    assert done.code == 0, done.out + done.err
    assert done.out.count("'") == 4
    served = open_predictor(next(run_of(folder, "guesses").glob("package/bundle/saved_model/*")))
    answer = served.predict({"text": np.array([b"and he said unto ___ , go ___ the way"])}, "fill")["filled"][0]
    assert b"___" not in answer and b"<MASK>" not in answer and answer.startswith(b"and he said unto ")


@pytest.mark.parametrize("text", ["no blank here", "___ " * 9])
def test_texts_without_blanks_or_with_too_many_are_refused(folder, tmp_path, text):
    (tmp_path / "texts.txt").write_text(text)
    done = run_here("predict", str(run_of(folder, "guesses")), str(tmp_path / "texts.txt"), cwd=folder)
    assert done.code == 2 and "write ___ where a token is to be guessed, 5 times at most" in done.err
