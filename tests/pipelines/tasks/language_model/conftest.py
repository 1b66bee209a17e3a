"""What the tests of language models share: a run on some chapters of the Gospels."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from pipelines.ingest.sources import bible
from tests.conftest import command

RECIPE = """\
name: words
task: language_model
data:
  source: {text_lines: {path: texts, window: 40}}
  tokens: {tokenizer: character, length: 40}
  batch: 16
model: {builder: language_lstm, embedding: 8, units: [24]}
train: {epochs: 4, schedule: {cosine: 0.02}}
compress: {variants: [float32, int8], calibration: {examples: 40}}
export: {targets: [litert]}
verify: {runs: 10}
gates: {bits_per_character: "<= 4.0", float32.max_error: "<= 1e-4", int8.drop: "<= 0.01"}
"""


class Words(NamedTuple):
    """A folder with texts and a run in it, and what the run printed."""

    folder: Path
    printed: str

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "words" / "latest"

    @property
    def bundle(self) -> Path:
        return self.run / "package" / "bundle"


@pytest.fixture(scope="session")
def words(tmp_path_factory) -> Words:
    """Return a folder with two files of text, the recipe and a run of it. Tests must not change it."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "texts").mkdir()
    chapters = [text for _, _, text in bible.chapters(bible.GOSPELS)]
    (folder / "texts" / "train.txt").write_text("".join(chapters[:8]))
    (folder / "texts" / "test.txt").write_text(chapters[9][:2500])
    (folder / "recipe.yaml").write_text(RECIPE)
    done = command("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return Words(folder, done.stdout)
