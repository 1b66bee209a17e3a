"""Rows of a user's file, as `predict` reads them."""
import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.tasks.tabular.task import Tabular

TRAINED = "code;size;price\n" + "".join(f"{('A7', '1,50')[row % 2]};{row},5;{row}\n" for row in range(40))


@pytest.fixture
def data(tmp_path):
    """A table whose numbers have commas, and a question mark where one is missing."""
    (tmp_path / "trained.csv").write_text(TRAINED)
    source = {"csv": {"path": str(tmp_path / "trained.csv"), "decimal": ",", "missing": ["?"]}}
    task = Tabular(problem="regression")
    section = DataSection(source=source, target="price", batch=8)  # type: ignore[call-arg]
    section.fill(task.data_settings)
    return Data(section, task, build_index(section, task, 0), 0)


def rows_of(data, path):
    features, _ = data.task.features_of(data.section, data.index.fields)
    return data.task.rows_of(path, features, data.index, data.section.source)


def test_a_file_of_rows_is_written_as_the_one_that_was_learnt_from(data, tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("size;code\n80,5;1,50\n?;A7\n1;new\n")
    titles, inputs = rows_of(data, path)
    assert titles == ["new.csv row 1", "new.csv row 2", "new.csv row 3"]
    np.testing.assert_array_equal(inputs["size"], np.array([80.5, np.nan, 1], "float32"))
    names = data.index.learnt["code"].names
    assert [names[position] for position in inputs["code"]] == ["1.50", "A7", "(unknown)"]


@pytest.mark.parametrize(("text", "message"), [
    ("size\n1\n", r"new\.csv has no column code; it has size"),
    ("code;size\nA7;big\n", r"new\.csv row 1: size is 'big', and must be a number"),
    ("code;size\nA7;05\nA7;1_000\n", r"new\.csv row 2: size is '1_000', and must be a number"),
    ("code;size\nA7;2024-05-31\n", r"new\.csv row 1: size is '2024-05-31', and must be a number")])
def test_rows_that_the_model_cannot_take_are_one_line(data, tmp_path, text, message):
    (tmp_path / "new.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        rows_of(data, tmp_path / "new.csv")
