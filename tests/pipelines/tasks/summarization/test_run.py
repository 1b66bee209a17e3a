"""Texts with summaries to verified files, with the beginnings of the texts beside."""
import json

import pytest

from tests.conftest import run_here

pytestmark = pytest.mark.slow  # a whole run

RECIPE = """
name: shorter
task: summarization
data:
  source: {parallel_text: texts.tsv}
  tokens: {tokenizer: {word: {min_count: 1}}, length: 16}
  previous: {tokenizer: {word: {min_count: 1}}, length: 5}
  batch: 16
model: {builder: t5_summarizer, depth: 1, units: 32, heads: 2, dropout: 0}
train: {epochs: 12, optimizer: adam, schedule: {constant: 0.005}}
compress: {variants: [float32]}
export: {targets: [litert, saved_model]}
"""


def test_summaries_are_written_verified_and_served(tmp_path):
    colours, things = ["red", "green", "blue", "black", "white"], ["car", "house", "dog", "lamp", "tree", "boat"]
    lines = [f"there was number {number}. it was a {colour} {thing} that stood there\t{colour} {thing}"
             for number, (colour, thing) in enumerate([(one, other) for one in colours for other in things] * 6)]
    (tmp_path / "texts.tsv").write_text("\n".join(lines))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    result = run_here("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=tmp_path)
    assert result.code == 0, result.out[-2000:] + result.err[-2000:]
    results = json.loads((tmp_path / "r.json").read_text())
    reference = results["reference"]
    assert reference["baselines"]["first_sentence"]["rouge_l"] == 0  # "there was number 7."
    assert reference["metrics"]["rouge_l"] > 60 > reference["baselines"]["first_words"]["rouge_l"]
    files = {one["target"]: one for one in results["artifacts"]}
    assert files["litert"]["drop"]["rouge_l"] == 0 and set(files["saved_model"]["served"]) == {"grpc", "rest"}
