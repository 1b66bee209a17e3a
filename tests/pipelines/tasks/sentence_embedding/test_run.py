"""Pairs of texts to verified files: embeddings of sentences, and classes of pairs."""
import json

import numpy as np
import pytest

from tests.conftest import run_here

pytestmark = pytest.mark.slow  # whole runs
REST = """\
compress: {variants: [float32, int8], calibration: {examples: 40}}
export: {targets: [litert, saved_model]}
verify: {runs: 10}
"""
EMBEDDING = """\
name: near
task: sentence_embedding
data:
  source: {summaries: [keras]}
  tokens: {tokenizer: word, length: 24}
  batch: 32
model: {builder: bert_embedder, depth: 1, units: 32, heads: 2}
train: {epochs: 3, optimizer: adamw, schedule: {cosine: 0.005}}
gates: {recall_at_1: ">= 0.02", float32.max_error: "<= 1e-4", int8.drop: "<= 0.05"}
""" + REST
SIMILARITY = """\
name: alike
task: sentence_similarity
data:
  source: {pairs: {of: {csv: pairs.csv}}}
  tokens: {tokenizer: {word: {min_count: 1}}, length: 8}
  batch: 16
model: {builder: bert_embedder, depth: 1, units: 16, heads: 2, dropout: 0.0}
train: {epochs: 12, optimizer: adamw, schedule: {cosine: 0.01}}
gates: {spearman: ">= 0.5", float32.max_error: "<= 1e-4"}
""" + REST
PAIRS = """\
name: pairs
task: sentence_pair_classification
data:
  source: {pairs: {of: {csv: pairs.csv}}}
  tokens: {tokenizer: {word: {min_count: 1}}, length: 8}
  second: {length: 8}
  label: {field: same}
  batch: 16
model: {builder: bert_pair, depth: 1, units: 16, heads: 2, dropout: 0.0, pooling: mean}
train: {epochs: 20, optimizer: adamw, schedule: {cosine: 0.01}}
gates: {accuracy: ">= majority_class", float32.max_error: "<= 1e-4"}
""" + REST


@pytest.fixture
def folder(tmp_path):
    """A folder with pairs of lists of things: alike as far as they share things."""
    generator = np.random.default_rng(2)
    things = ["bread", "milk", "eggs", "salt", "rice", "beans", "corn", "nuts", "figs", "dates"]
    rows = ["text,text2,score,same"]
    for _ in range(400):
        one, other = (generator.choice(10, 3, replace=False) for _ in range(2))
        shared = int(generator.integers(0, 4))
        other[:shared] = one[:shared]
        score = len(set(one) & set(other))
        texts = (" ".join(things[number] for number in row) for row in (one, other))
        rows.append(f"{','.join(texts)},{score},{'yes' if score >= 2 else 'no'}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.parametrize(("recipe", "metric"), [
    (EMBEDDING, "recall_at_1"), (SIMILARITY, "spearman"), (PAIRS, "accuracy")], ids=["near", "alike", "pairs"])
def test_pairs_are_learnt_and_verified_on_every_file(folder, recipe, metric):
    (folder / "recipe.yaml").write_text(recipe)
    done = run_here("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=folder)
    assert done.code == 0, done.out + done.err
    results = json.loads((folder / "r.json").read_text())
    reference = results["reference"]["metrics"][metric]
    files = {artifact["variant"]: artifact for artifact in results["artifacts"] if artifact["target"] == "litert"}
    assert files["float32"]["metrics"][metric] == pytest.approx(reference, abs=1e-3)
