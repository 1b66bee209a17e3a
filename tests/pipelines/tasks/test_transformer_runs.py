"""Recipes of Transformers, whole: files answer as the trained models do, as integers too."""
import json

import numpy as np
import pytest

from pipelines.ingest.sources import bible
from tests.conftest import command
from tests.pipelines.tasks.translation.conftest import written

pytestmark = pytest.mark.slow  # whole runs
REST = """\
compress: {variants: [float32, int8], calibration: {examples: 40}}
export: {targets: [litert]}
verify: {runs: 10}
"""
LANGUAGE = """\
name: one
task: language_model
data:
  source: {text_lines: {path: texts, window: 40}}
  tokens: {tokenizer: character, length: 40}
  batch: 16
model: {builder: llama, depth: 1, units: 32, heads: 4, groups: 2}
train: {epochs: 2, optimizer: adamw, schedule: {cosine: 0.01}}
gates: {bits_per_character: "<= 4.2", float32.max_error: "<= 1e-4", dynamic.drop: "<= 0.01"}
""" + REST.replace("int8", "dynamic")  # static integers have no steps left beside what hides tokens that follow
CLASSES = """\
name: one
task: text_classification
data:
  source: vader
  tokens: {tokenizer: word, length: 16}
  batch: 64
model: {builder: bert, depth: 1, units: 16, heads: 2, pooling: mean}
train: {epochs: 1, optimizer: adamw, schedule: {cosine: 0.005}}
gates: {accuracy: ">= majority_class", float32.max_error: "<= 1e-4", int8.drop: "<= 0.01"}
""" + REST
TRANSLATION = """\
name: one
task: translation
data:
  source: {parallel_text: numbers.tsv}
  tokens: {tokenizer: character, length: 8}
  previous: {tokenizer: character, length: 8}
  batch: 32
model: {builder: t5, depth: 1, units: 32, heads: 4, dropout: 0.0}
train: {epochs: 8, schedule: {one_cycle: 0.01}}
gates: {chrf: ">= 30", float32.max_error: "<= 1e-4", int8.drop: "<= 5"}
""" + REST


@pytest.fixture
def folder(tmp_path):
    """A folder with texts and with numbers as digits and as letters."""
    (tmp_path / "texts").mkdir()
    chapters = [text for _, _, text in bible.chapters(bible.GOSPELS)]
    (tmp_path / "texts" / "train.txt").write_text("".join(chapters[:8]))
    (tmp_path / "texts" / "test.txt").write_text(chapters[9][:2500])
    numbers = np.random.default_rng(2).choice(np.arange(1, 10_000), 1200, replace=False)
    (tmp_path / "numbers.tsv").write_text("".join(f"{number}\t{written(number)}\n" for number in numbers.tolist()))
    return tmp_path


@pytest.mark.parametrize(("recipe", "metric"), [
    (LANGUAGE, "bits_per_character"), (CLASSES, "accuracy"), (TRANSLATION, "chrf")], ids=["llama", "bert", "t5"])
def test_a_transformer_is_trained_and_verified_on_every_file(folder, recipe, metric):
    (folder / "recipe.yaml").write_text(recipe)
    done = command("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((folder / "r.json").read_text())
    reference = results["reference"]["metrics"][metric]
    files = {artifact["variant"]: artifact for artifact in results["artifacts"]}
    assert files["float32"]["metrics"][metric] == pytest.approx(reference, abs=1e-3)
    assert set(files) == {"float32", "dynamic" if recipe is LANGUAGE else "int8"}
