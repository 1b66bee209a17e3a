"""Series in tables: wide and long, zones, gaps, stamps that are missing or repeated."""
import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest
from pydantic import ValidationError

from pipelines.errors import UserError
from pipelines.ingest.sources.series import shown
from pipelines.ingest.sources.series_table import SeriesTable


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a file and returns a source of it."""
    def write(text, name="load.csv", **settings):
        path = tmp_path / name
        path.write_text(text)
        return SeriesTable.model_validate({"path": str(path), **settings})
    return write


WIDE = "stamp,load,temperature\n" + "".join(f"2024-01-{day:02},{day},{day / 10}\n" for day in range(1, 11))


def values(source, number=0):
    return source.series()[1][number].values


def test_a_wide_table_is_a_series_of_its_columns(written):
    columns, (one,) = written(WIDE, time="stamp").series()
    assert columns == ["load", "temperature"] and one.name == "load"
    assert one.values == pytest.approx(np.array([[day, day / 10] for day in range(1, 11)]))
    assert [shown(one.times[position]) for position in (0, -1)] == ["2024-01-01", "2024-01-10"]


def test_a_long_table_in_parquet_is_the_same_series(tmp_path, written):
    wide = pd.read_csv(pd.io.common.StringIO(WIDE), parse_dates=["stamp"])
    long = wide.melt("stamp", var_name="what", value_name="much").sample(frac=1, random_state=0)
    long.to_parquet(tmp_path / "long.parquet")
    assert parquet.read_table(tmp_path / "long.parquet").num_rows == 20
    source = SeriesTable(path=str(tmp_path / "long.parquet"), time="stamp", variable="what", value="much")
    assert np.array_equal(values(source), values(written(WIDE, time="stamp")))


def test_a_column_may_name_several_series(written):
    rows = "shop,day,sold\n" + "".join(f"{shop},2024-02-{day:02},{day * (2 if shop == 'b' else 1)}\n"
                                       for day in range(1, 6) for shop in "ba")
    columns, (a, b) = written(rows, time="day", series="shop").series()
    assert columns == ["sold"] and (a.name, b.name) == ("a", "b")
    assert np.array_equal(b.values, 2 * a.values)


def test_a_missing_stamp_is_a_gap(written):
    lines = WIDE.splitlines()
    del lines[4]
    one = written("\n".join(lines), time="stamp").series()[1][0]
    assert len(one.times) == 10 and np.flatnonzero(np.isnan(one.values[:, 0])).tolist() == [3]
    with pytest.raises(UserError, match=r"load at 2024-01-04 has no value of load, and 1 steps lack one"):
        written("\n".join(lines), time="stamp", window=2).cut()


@pytest.mark.parametrize(("how", "expected"), [("mean", 4), ("sum", 8), ("first", 3), ("last", 5)])
def test_a_stamp_that_occurs_twice_is_refused_or_resampled(written, how, expected):
    text = WIDE + "2024-01-03,5,0\n"
    with pytest.raises(UserError, match=r"load has the stamp 2024-01-03 twice, and 1 rows repeat one; .* duplicates"):
        written(text, time="stamp").series()
    assert values(written(text, time="stamp", duplicates=how))[2, 0] == expected


def test_a_second_value_in_a_long_table_is_refused(written):
    text = "t,what,much\n2024-01-01,x,1\n2024-01-02,x,2\n2024-01-02,x,4\n2024-01-03,x,3\n"
    settings = {"time": "t", "variable": "what", "value": "much"}
    with pytest.raises(UserError, match=r"load.csv row 3 has a second value of x at one stamp"):
        written(text, **settings).series()
    assert values(written(text, **settings, duplicates="mean"))[:, 0].tolist() == [1, 3, 3]


def test_stamps_between_steps_are_refused_or_means_are_taken(written):
    text = "t,x\n" + "".join(f"2024-01-01T{hour:02}:00,{hour}\n" for hour in range(6)) + "2024-01-01T04:20,40\n"
    with pytest.raises(UserError, match=r"the stamp 2024-01-01 04:20:00 lies between two of them.*step: 1h"):
        written(text, time="t").series()
    assert values(written(text, time="t", step="1h"))[:, 0].tolist() == [0, 1, 2, 3, 22, 5]


def test_months_and_quarters_are_steps(written):
    text = "t,x\n" + "".join(f"2024-{month:02}-01,{month}\n" for month in (1, 2, 3, 5, 6))
    one = written(text, time="t").series()[1][0]
    assert len(one.times) == 6 and np.isnan(one.values[3, 0])
    assert values(written(text, time="t", step="quarter"))[:, 0].tolist() == [2, 5.5]


def test_stamps_with_an_offset_are_brought_to_one_zone(written):
    text = "t,x\n2024-03-31T00:00:00+01:00,1\n2024-03-31T01:00:00+01:00,2\n2024-03-31T03:00:00+02:00,3\n"
    one = written(text, time="t").series()[1][0]
    assert [str(time) for time in one.times] == ["2024-03-30T23:00:00", "2024-03-31T00:00:00", "2024-03-31T01:00:00"]
    local = "t,x\n2024-03-31T00:00,1\n2024-03-31T01:00,2\n2024-03-31T03:00,3\n"
    assert np.array_equal(written(local, time="t", zone="Europe/Berlin").series()[1][0].times, one.times)


@pytest.mark.parametrize(("text", "settings", "message"), [
    ("t,x\n2024-10-27T02:30,1\n", {"zone": "Europe/Berlin"}, r"cannot be told apart in the zone Europe/Berlin"),
    ("t,x\n2024-03-31T02:30,1\n", {"zone": "Europe/Berlin"}, r"cannot be told apart in the zone Europe/Berlin"),
    ("t,x\n2024-01-01T00:00Z,1\n2024-01-01T01:00,1\n", {}, r"row 2: '2024-01-01T01:00' has no offset from UTC"),
    ("t,x\n2024-01-01,1\n31/01/2024,1\n", {}, r"row 2 has the time '31/01/2024', which is not a stamp.*format"),
    ("t,x\n2024-01-01,1\n,1\n", {}, r"load.csv row 2 has no stamp"),
    ("t,x\n2024-01-01,1\n2024-01-02,a\n2024-01-03,b\n", {}, r"has words in the column x; series are numbers"),
    ("t\n2024-01-01\n", {}, r"no column of numbers beside the time"),
    ("", {}, r"load.csv is empty"),
    ("t,x\n2024-01-01,1\n", {"label": "odd"}, r"label: load.csv has no column odd; it has t, x")])
def test_what_is_no_series_is_refused_in_a_line(written, text, settings, message):
    with pytest.raises(UserError, match=message):
        written(text, time="t", **settings).series()


def test_other_ways_to_write_stamps_are_named(written):
    text = "t,x\n31/01/2024,1\n01/02/2024,2\n"
    assert shown(written(text, time="t", format="%d/%m/%Y").series()[1][0].times[0]) == "2024-01-31"


@pytest.mark.parametrize("settings", [{"step": "often"}, {"value": "x"}])
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(ValidationError, match="give"):
        SeriesTable.model_validate({"path": "x.csv", **settings})


def test_rows_are_steps_where_there_is_no_time(written):
    one = written("x\n1\n2\n3\n").series()[1][0]
    assert one.times.tolist() == [0, 1, 2]


def test_labels_of_steps_are_no_variable(written):
    columns, (one,) = written("x,odd\n1,0\n2,1\n3,0\n", label="odd").series()
    assert columns == ["x"] and one.labels.tolist() == [False, True, False]
