"""Which real numbers a file's ranges were found with, and which inputs lie outside of these."""
import numpy as np

from export import ranges


def test_each_variable_of_a_series_has_a_range_and_all_samples_of_a_sound_have_one():
    windows = np.zeros((3, 4, 2), "float32")
    windows[0, 0] = [1.0, -9.0]
    windows[0, 1] = [-1.0, 9.0]
    windows[2, 0, 1] = np.nan
    known = ranges.seen({"past": windows, "tokens": np.ones((3, 4), "int32")})
    assert known == {"past": [[-1.0, -9.0], [1.0, 9.0]]}
    windows[1, 2] = [5.0, 5.0]  # the second variable may be as large, the first not
    assert ranges.outside(known, {"past": windows}).tolist() == [False, True, False]
    sounds = np.array([[0.1, -0.25], [0.1, -0.5]], "float32")
    assert ranges.seen({"audio": sounds}) == {"audio": [[-0.5], [np.float32(0.1)]]}
    assert ranges.outside({"audio": [[-0.3], [0.3]]}, {"audio": sounds}).tolist() == [False, True]


def test_the_smallest_and_the_largest_that_were_seen_lie_inside():
    seen = {"x": np.array([[0.1], [0.7]], "float32")}
    assert not ranges.outside(ranges.seen(seen), seen).any()


def test_nothing_is_said_where_no_range_is_known():
    assert ranges.outside({}, {"x": np.zeros((2, 3))}) is None
    assert ranges.seen({"x": np.full((2, 3), np.nan)}) == {}
