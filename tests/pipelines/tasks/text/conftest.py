"""What the tests of texts share: tweets that people agree on, as a table, and a run of a recipe on them."""
from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pipelines.ingest.sources.vader import Vader
from tests.conftest import command

RECIPE = """\
name: moods
task: text_classification
data:
  source: {csv: moods.csv}
  tokens: {field: review, tokenizer: {word: {min_count: 1}}, length: 24}
  label: {field: mood}
  batch: 32
model: {builder: textcnn, embedding: 16, filters: 8, dropout: 0.2}
train: {epochs: 8, schedule: {cosine: 0.01}}
compress: {variants: [float32, int8]}
export: {targets: [litert, saved_model]}
verify: {runs: 20}
gates: {accuracy: ">= majority_class", float32.max_error: "<= 1e-4", int8.drop: "<= 0.03"}
"""


class Moods(NamedTuple):
    """A folder with moods.csv and a run in it, and what the run printed."""

    folder: Path
    printed: str

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "moods" / "latest"

    @property
    def bundle(self) -> Path:
        return self.run / "package" / "bundle"


def write_moods(path: Path, most: int = 400) -> None:
    """Write the first tweets that people agree on as rows of review, mood and number."""
    columns = Vader(clear=2.2).tables()["train"].columns
    chosen = [number for number, document in enumerate(columns["document"]) if document.startswith(b"tweet")]
    negative = [number for number in chosen if columns["label"][number] == b"negative"][:most // 2]
    positive = [number for number in chosen if columns["label"][number] == b"positive"][:most // 2]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "mood", "number"])
        for number in np.sort([*negative, *positive]).tolist():
            writer.writerow([columns["text"][number].decode(), columns["label"][number].decode(), number])


@pytest.fixture(scope="session")
def moods(tmp_path_factory) -> Moods:
    """Return a folder with moods.csv, the recipe and a run of it. Tests must not change it."""
    folder = tmp_path_factory.mktemp("moods")
    write_moods(folder / "moods.csv")
    (folder / "recipe.yaml").write_text(RECIPE)
    done = command("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return Moods(folder, done.stdout)
