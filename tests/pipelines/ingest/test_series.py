"""Series: parts of the time, windows, gaps, and what is refused."""
import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.ingest.sources import calendar, series
from pipelines.ingest.sources.series import Series
from pipelines.ingest.sources.statsmodels_series import Co2, Macrodata, Sunspots

DAYS = np.arange("2024-01-01", "2024-04-10", dtype="datetime64[D]").astype("datetime64[s]")


def made(values, times=DAYS):
    values = np.asarray(values, float).reshape(len(values), -1)
    return Series("made", times[:len(values)], values, np.isnan(values))


def test_no_target_of_a_window_lies_in_another_part():
    one = made(np.arange(100.0))
    ends = series.borders([one], 0.1, 0.2)
    windows = series.cut([one], 7, 5, [0], ends)
    assert [str(end)[:10] for end in ends] == [str(DAYS[70])[:10], str(DAYS[80])[:10]]
    for part, (begin, end) in {"train": (0, 70), "validation": (70, 80), "test": (80, 100)}.items():
        targets = [range(start + 7, start + 12) for start in windows.starts[part].tolist()]
        assert targets[0][0] == max(begin, 7) and targets[-1][-1] == end - 1
        assert len(targets) == targets[-1][0] - targets[0][0] + 1


def test_every_stride_th_window_is_tested_on():
    one = made(np.arange(100.0))
    starts = series.cut([one], 7, 5, [0], series.borders([one], 0.1, 0.2), stride=4).starts
    assert starts["test"].tolist() == [73, 77, 81, 85] and len(starts["train"]) == 59


def test_series_of_other_lengths_are_divided_at_the_same_stamps():
    long, short = made(np.arange(100.0)), made(np.arange(50.0), DAYS[50:])
    windows = series.cut([long, short], 3, 1, [0], series.borders([long, short], 0.1, 0.2))
    assert [np.sum(windows.owners[part] == 1) for part in series.PARTS] == [17, 10, 20]
    assert windows.starts["test"][windows.owners["test"] == 1][0] == 100 + 30 - 3


def test_parts_begin_with_a_stamp_that_is_named():
    one = made(np.arange(100.0))
    assert series.borders([one], "2024-03-01", "2024-03-11") == (DAYS[60], DAYS[70])
    with pytest.raises(UserError, match=r"test is 'later', which is neither a share nor a stamp like 2024-04-09"):
        series.borders([one], 0.1, "later")
    with pytest.raises(UserError, match=r"100 steps from 2024-01-01 to 2024-04-09 do not divide"):
        series.borders([one], 0.1, "2025-01-01")


@pytest.mark.parametrize(("how", "expected"), [("previous", [1, 2, 2, 2, 5, 6]), ("linear", [1, 2, 3, 4, 5, 6])])
def test_short_gaps_are_filled_in_and_neither_aimed_at_nor_the_newest_that_is_seen(how, expected):
    """The line that fills a gap knows the value behind it, which the window at its end would aim at."""
    one = series.filled(made([1, 2, np.nan, np.nan, 5, 6]), ["x"], how, 2)
    assert one.values[:, 0].tolist() == expected
    windows = series.cut([one], 1, 1, [0], (DAYS[90], DAYS[91]))
    assert windows.starts["train"].tolist() == [0, 4]


def test_windows_that_see_a_long_gap_are_left_out():
    one = series.filled(made([1, 2, np.nan, np.nan, 5, 6, 7]), ["x"], "previous", 1)
    windows = series.cut([one], 2, 1, [0], (DAYS[90], DAYS[91]))
    assert windows.starts["train"].tolist() == [4]


def test_a_missing_or_infinite_value_is_refused_with_its_stamp():
    with pytest.raises(UserError, match=r"made at 2024-01-03 has no value of x, and 2 steps lack one; say .* fill"):
        series.filled(made([1, 2, np.nan, np.nan, 5]), ["x"], None, 5)
    with pytest.raises(UserError, match=r"made at 2024-01-02 has a value that is infinite"):
        series.filled(made([1, np.inf, 3]), ["x"], "linear", 5)


def test_the_scale_is_the_mean_change_over_a_season_in_training_alone():
    values = np.random.default_rng(0).normal(size=100)
    values[90:] *= 1000
    expected = np.abs(values[7:70] - values[:63]).mean()
    assert series.scales([made(values)], [0], 7, DAYS[70]) == pytest.approx(expected)


def test_the_calendar_is_a_circle():
    hours = np.arange("2024-01-01T00", "2024-01-15T00", dtype="datetime64[h]")
    columns = calendar.of_stamps(hours, ["time_of_day", "day_of_week"])
    assert columns[:24] [6].tolist() == pytest.approx([1, 0, np.sin(2 * np.pi / 28), np.cos(2 * np.pi / 28)])
    assert np.allclose(columns[:168], columns[168:]) and np.allclose(columns[::24, 1], 1)
    with pytest.raises(UserError, match="the steps have numbers and no stamps"):
        calendar.of_stamps(np.arange(5), ["day_of_year"])


@pytest.mark.parametrize(("source", "columns", "steps", "first"), [
    (Sunspots(), 1, 309, "1700-01-01"), (Co2(fill="previous"), 1, 2284, "1958-03-29"),
    (Macrodata(), 12, 203, "1959-01-01")])
def test_the_series_inside_statsmodels_are_whole(source, columns, steps, first):
    names, (one,) = source.series()
    assert one.values.shape == (steps, columns) == (len(one.times), len(names))
    assert series.shown(one.times[0]) == first


def test_examples_are_windows_of_raw_values():
    source = Macrodata(window=8, horizon=2, target="unemp", known=("tbilrate",), calendar=("day_of_year",))
    _, (one,) = source.series()
    cut, fields = source.cut(), source.fields()
    assert fields["past"].names[0] == "unemp" and fields["past"].shape == (8, 11)
    assert fields["known"].names == ["tbilrate", "day_of_year_sin", "day_of_year_cos"]
    example = next(iter(source.examples("test", [3]).as_numpy_iterator()))
    start = int(cut.windows.starts["test"][3])
    unemp, rate = (list(cut.columns).index(name) for name in ("unemp", "tbilrate"))
    assert example["past"][:, 0] == pytest.approx(one.values[start:start + 8, unemp])
    assert example["future"][:, 0] == pytest.approx(one.values[start + 8:start + 10, unemp])
    assert example["known"][:, 0] == pytest.approx(one.values[start:start + 10, rate])
    assert example["id"].decode() == f"macrodata at {series.shown(one.times[start + 8])}"


@pytest.mark.parametrize(("settings", "message"), [
    ({"window": 400}, "sunspots has 309 steps, and a window of 400 and a horizon of 1 need 401; give a smaller window"),
    ({"window": 20, "horizon": 40}, r"no window of 20 steps and a horizon of 40 lies in the validation part, which is "
                                    "from 1916-01-01 to 1947-01-01"),
    ({"target": "sunactivty"}, "target: there is no column sunactivty; did you mean sunactivity"),
    ({"target": "sunactivity", "known": "sunactivity"}, "sunactivity is both forecast and known ahead")])
def test_windows_that_cannot_be_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Sunspots(**settings).cut()


def test_co2_is_refused_without_a_word_on_its_gaps():
    with pytest.raises(UserError, match=r"co2 at 1958-05-10 has no value of co2, and 59 steps lack one"):
        Co2().cut()
