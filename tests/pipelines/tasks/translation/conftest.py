"""What the tests of translation share: a run on dates that are written in another way."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.conftest import command

RECIPE = """\
name: numbers
task: {translation: {beam: 0}}
data:
  source: {parallel_text: numbers.tsv}
  tokens: {tokenizer: character, length: 12}
  previous: {tokenizer: character, length: 12}
  batch: 32
model: {builder: seq2seq, embedding: 12, units: 32, dropout: 0.0}
train: {epochs: 9, schedule: {one_cycle: 0.02}}
compress: {variants: [float32, int8], calibration: {examples: 40}}
export: {targets: [litert, saved_model]}
verify: {runs: 10}
gates: {chrf: ">= copy_source", float32.max_error: "<= 1e-4", int8.drop: "<= 5"}
"""
DIGITS = "abcdefghij"


class Numbers(NamedTuple):
    """A folder with numbers.tsv and a run in it, and what the run printed."""

    folder: Path
    printed: str

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "numbers" / "latest"

    @property
    def bundle(self) -> Path:
        return self.run / "package" / "bundle"


def written(number: int) -> str:
    """Return a number's digits as letters."""
    return "".join(DIGITS[int(digit)] for digit in str(number))


@pytest.fixture(scope="session")
def numbers(tmp_path_factory) -> Numbers:
    """Return a folder with numbers.tsv, the recipe and a run of it. Tests must not change it."""
    folder = tmp_path_factory.mktemp("numbers")
    chosen = np.random.default_rng(2).choice(np.arange(1, 10_000), 1200, replace=False)
    (folder / "numbers.tsv").write_text("".join(f"{number}\t{written(number)}\n" for number in chosen.tolist()))
    (folder / "recipe.yaml").write_text(RECIPE)
    done = command("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return Numbers(folder, done.stdout)
