"""A language model that learns to answer by LoRA: two recipes, the second on what the first has left."""
import json

import h5py
import numpy as np
import pytest

from export.keras_models import file as keras_file
from pipelines.training import model_section  # noqa: F401  makes the layers of models known
from tests.conftest import run_here

pytestmark = pytest.mark.slow  # whole runs
BASE = """\
name: base
task: language_model
data:
  source: {bible: {window: 48}}
  tokens: {tokenizer: character, length: 48}
  batch: 64
model: {builder: gpt, depth: 1, units: 32, heads: 4, dropout: 0.0}
train: {epochs: 1, optimizer: adamw, schedule: {one_cycle: 0.01}}
compress: {variants: [float32]}
"""
TUNED = """\
name: tuned
task: instruction_tuning
data:
  source: {prompts: {source: {bible: {window: 24}}, prompt: "{text} Who?", answer: "{book}", most: 900,
                       words: {John: J, Luke: J}, otherwise: M}}
  tokens: {tokenizer: character, length: 48, vocabulary: runs/base/latest}
  batch: 32
model: {builder: gpt, depth: 1, units: 32, heads: 4, dropout: 0.0, weights: {file: runs/base/latest/train/model.keras}}
train: {epochs: 3, adapter: {lora: {rank: 4, alpha: 16, layers: [all, embedding]}}, schedule: {one_cycle: 0.01}}
compress: {variants: [float32, dynamic]}
export: {targets: [litert]}
verify: {runs: 10}
gates: {float32.max_error: "<= 1e-3", exact_match: ">= base"}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which both recipes were run."""
    path = tmp_path_factory.mktemp("tuned")
    (path / "base.yaml").write_text(BASE)
    (path / "tuned.yaml").write_text(TUNED)
    done = run_here("run", "base.yaml", "--no-track", "--until", "train", cwd=path)
    assert done.code == 0, done.out + done.err
    done = run_here("run", "tuned.yaml", "--no-track", "--json", "r.json", cwd=path)
    assert done.code == 0, done.out + done.err
    return path


def test_it_learns_to_answer_and_is_measured_beside_its_base(folder):
    results = json.loads((folder / "r.json").read_text())
    metrics, beside = results["reference"]["metrics"], results["reference"]["baselines"]
    assert metrics["exact_match"] >= beside["most_frequent"]["exact_match"] > 0.4
    assert beside["base"]["exact_match"] < 0.1 and beside["base"]["perplexity"] > 2 * metrics["perplexity"]
    files = {artifact["variant"]: artifact for artifact in results["artifacts"]}
    assert files["float32"]["metrics"] == pytest.approx(metrics, abs=1e-3) and set(files) == {"float32", "dynamic"}


def test_what_ships_is_the_base_and_the_adapter(folder):
    base, tuned = (keras_file.load(folder / "runs" / name / "latest" / "train" / "model.keras")
                   for name in ("base", "tuned"))
    with h5py.File(folder / "runs" / "tuned" / "latest" / "train" / "adapter.lora.h5") as file:
        layers = {name: {matrix: values[()] for matrix, values in group.items()}
                  for name, group in file["lora"].items()}
        scale = file["lora"].attrs["alpha"] / file["lora"].attrs["rank"]
    for layer in tuned.layers:
        before, after = base.get_layer(layer.name).get_weights(), layer.get_weights()
        if layer.name in layers:
            first, second = layers[layer.name].values()
            np.testing.assert_allclose(after[0], before[0] + scale * (first @ second), atol=1e-6)
            before, after = before[1:], after[1:]
        assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    journal = (folder / "runs" / "tuned" / "latest" / "train" / "journal.jsonl").read_text()
    assert "the others are bit for bit what they were, sha256" in journal and '"trainable_weights"' in journal
    assert "weights learn" in json.loads((folder / "runs" / "tuned" / "latest" / "run.json").read_text())[
        "stages"]["train"]["summary"]


def test_it_answers_what_is_asked(folder):
    said = run_here("generate", "runs/tuned/latest", "--prompt", "And it came to pass", "--tokens", "3", cwd=folder)
    assert said.code == 0, said.err
    assert said.out.strip() in ("J", "M")  # and not what the base would go on with


@pytest.mark.parametrize(("old", "new", "message"), [
    ("units: 32, heads: 4, dropout: 0.0, weights", "units: 64, heads: 4, dropout: 0.0, weights", "model.weights"),
    ("tokenizer: character", "tokenizer: word", "data.tokens.tokenizer is"),
    ("vocabulary: runs/base/latest", "vocabulary: runs/none/latest", "is not a run with a vocabulary"),
    ("{text} Who?", "{txt} Who?", "bible has no field txt; it has text, chapter, book"),
    ("{text} Who?", "Who?", "names no field")])
def test_what_does_not_fit_the_base_is_refused_in_a_line(folder, old, new, message):
    assert old in TUNED
    (folder / "bad.yaml").write_text(TUNED.replace(old, new, 1))
    done = run_here("run", "bad.yaml", "--no-track", "--until", "train", cwd=folder)
    assert done.code == 2, done.out + done.err
    assert message in done.err + done.out and "Traceback" not in done.err
