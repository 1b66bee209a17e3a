"""What the tests of tables share: people with a missing age and city, as a file, and a run of a recipe on them."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.tasks.tabular import Tabular
from tests.conftest import command

ROWS = 400
RECIPE = """\
name: people
task: tabular
data:
  source: {csv: people.csv}
  target: outcome
  columns: {price: ignore, age: {number: median}}
  batch: 32
model: {builder: mlp, units: [16]}
train: {epochs: 12, schedule: {cosine: 0.02}}
compress: {variants: [float32, int8]}
verify: {runs: 20}
gates: {log_loss: "<= logistic_regression", int8.drop: "<= 0.01"}
"""


class People(NamedTuple):
    """A folder with people.csv and a run in it, and what the run printed."""

    folder: Path
    printed: str

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "people" / "latest"

    @property
    def bundle(self) -> Path:
        return self.run / "package" / "bundle"


def write_people(path: Path, rows: int = ROWS, seed: int = 0) -> None:
    """Write people whose outcome and price follow from what is known of them; a tenth of the ages and a twentieth of
    the cities are missing, and years are far from zero."""
    generator = np.random.default_rng(seed)
    age = generator.normal(40, 12, rows).round(1)
    year = generator.integers(1985, 2024, rows)
    city = generator.choice(["Köln", "Paris", "Rome", "Oslo"], rows, p=[0.4, 0.3, 0.2, 0.1])
    member = generator.random(rows) < 0.4
    worth = (0.08 * (age - 40) + 0.1 * (year - 2005) + np.where(city == "Rome", 2, 0) + np.where(member, 1, -1)
             + generator.normal(0, 0.5, rows))
    lines = ["age,year,city,Is member?,price,outcome"]
    for number in range(rows):
        known_age = "" if generator.random() < 0.1 else age[number]
        known_city = "" if generator.random() < 0.05 else city[number]
        lines.append(f"{known_age},{year[number]},{known_city},{'yes' if member[number] else 'no'},"
                     f"{100_000 + 20_000 * worth[number]:.0f},{'good' if worth[number] > 0.3 else 'bad'}")
    path.write_text("\n".join(lines) + "\n")


def data_of(folder: Path, task: Tabular, target: str, ignored: str) -> Data:
    """Return the examples in a folder's people.csv.

    Args:
        target: the column to learn.
        ignored: a column that is no input.
    """
    section = DataSection.model_validate({"source": {"csv": str(folder / "people.csv")}, "target": target,
                                          "columns": {ignored: "ignore"}})
    section.fill(task.data_settings)
    return Data(section, task, build_index(section, task, 7), 7)


def data_of_columns(folder: Path, columns: Mapping[str, Sequence], problem: str, **said) -> Data:
    """Return the examples of a table of these columns, of which `price` is learnt.

    Args:
        columns: name to a value for each row.
        problem: classification or regression.
        said: what the recipe says of some columns.
    """
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (folder / "rows.csv").write_text("\n".join(lines))
    task = Tabular.model_validate({"problem": problem})
    section = DataSection.model_validate({"source": {"csv": str(folder / "rows.csv")}, "target": "price",
                                          "columns": said})
    section.fill(task.data_settings)
    return Data(section, task, build_index(section, task, 3), 3)


@pytest.fixture(scope="session")
def people(tmp_path_factory) -> People:
    """Return a folder with people.csv, the recipe and a run of it. Tests must not change it."""
    folder = tmp_path_factory.mktemp("people")
    write_people(folder / "people.csv")
    (folder / "recipe.yaml").write_text(RECIPE)
    done = command("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return People(folder, done.stdout)
