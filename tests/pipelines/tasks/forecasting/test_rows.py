"""A user's own series, as a forecaster takes their end."""
import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.tasks.forecasting import Forecasting

DAYS = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")


@pytest.fixture
def asked(tmp_path):
    """Return a function from a user's file to what a model of 60 days of two columns, price known ahead, is asked."""
    lines = [f"{day},{number},{number % 7}" for number, day in enumerate(DAYS)]
    (tmp_path / "train.csv").write_text("\n".join(["day,sold,price", *lines]))
    source = {"series_table": {"path": str(tmp_path / "train.csv"), "time": "day", "window": 5, "horizon": 2,
                               "known": "price", "calendar": "day_of_week", "fill": "previous"}}
    section = DataSection(source=source)
    task = Forecasting()
    index = build_index(section, task, 0)

    def ask(text):
        (tmp_path / "own.csv").write_text(text)
        inputs, _ = task.features_of(section, index.fields)
        return task.rows_of(tmp_path / "own.csv", inputs, index, section.source)
    return ask


def rows(count, ahead=2, first=0):
    lines = [f"{DAYS[number]},{number},{number % 7}" for number in range(first, first + count)]
    lines += [f"{DAYS[number]},,{number % 7}" for number in range(first + count, first + count + ahead)]
    return "\n".join(["day,sold,price", *lines])


def test_the_last_window_and_what_is_known_behind_it_go_in(asked):
    names, inputs = asked(rows(9))
    assert names == ["own from 2024-01-10"]
    assert inputs["past"][0, :, 0].tolist() == [4, 5, 6, 7, 8]
    assert inputs["known"][0, :, 0].tolist() == [4, 5, 6, 0, 1, 2, 3]
    monday = 2 * np.pi * np.array([(4 + step) % 7 for step in range(7)]) / 7
    assert inputs["known"][0, :, 1] == pytest.approx(np.sin(monday), abs=1e-6)


def test_a_gap_is_filled_in_as_in_training(asked):
    text = "\n".join(line for line in rows(9).splitlines() if "2024-01-07" not in line)
    assert asked(text)[1]["past"][0, :, 0].tolist() == [4, 5, 5, 7, 8]


@pytest.mark.parametrize(("text", "message"), [
    (rows(4), "own has 4 steps, and the model sees 5"),
    (rows(9, ahead=1), "price must be there for the 2 steps behind the last one"),
    (rows(9).replace("price", "prize"), "has no column price, which the model sees; it has sold, prize")])
def test_what_is_missing_is_named(asked, text, message):
    with pytest.raises(UserError, match=message):
        asked(text)
