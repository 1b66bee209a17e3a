"""What is known of an exported file: which inputs lie outside of what its integers were found with."""
import numpy as np

from export.artifacts import Exported, columns


def file(**ranges):
    return Exported(variant="int8", target="litert", path="litert/int8.tflite", bytes=1, zipped=1, ranges=ranges)


def test_each_variable_of_a_series_has_a_range_and_all_samples_of_a_sound_have_one():
    windows = np.zeros((3, 4, 2), "float32")
    windows[1, 2] = [5.0, 5.0]  # the second variable may be as large, the first not
    windows[2, 0, 1] = np.nan
    assert columns(windows) == 2
    assert file(past=([-1.0, -9.0], [1.0, 9.0])).outside({"past": windows}).tolist() == [False, True, False]
    sounds = np.array([[0.1, -0.2], [0.1, -0.4]], "float32")
    assert columns(sounds) == 1
    assert file(audio=([-0.3], [0.3])).outside({"audio": sounds}).tolist() == [False, True]


def test_the_smallest_and_the_largest_that_were_seen_lie_inside():
    seen = np.array([[0.1], [0.7]], "float32")
    assert not file(x=([float(seen.min())], [float(seen.max())])).outside({"x": seen}).any()


def test_nothing_is_said_of_a_file_whose_ranges_nobody_knows():
    assert file().outside({"x": np.zeros((2, 3))}) is None
