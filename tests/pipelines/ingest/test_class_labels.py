"""Labels as people write them: words, one-hot rows, numbers from 0 or from 1."""
import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.ingest import Source
from tests.pipelines.ingest.conftest import data_of

IMAGES = np.arange(30 * 4 * 4).reshape(30, 4, 4).astype("uint8")
GREY = {"image": {"size": 4, "channels": 1}, "batch": 4}
NUMBERS = np.arange(30) % 3
WORDS = np.array(["owl", "cat", "dog"])


def split(labels):
    return {"x_train": IMAGES[:24], "y_train": labels[:24], "x_test": IMAGES[24:], "y_test": labels[24:]}


@pytest.mark.parametrize(("labels", "names", "expected"), [
    (WORDS[NUMBERS], ["cat", "dog", "owl"], [2, 0, 1]),
    (WORDS[NUMBERS].astype("S"), ["cat", "dog", "owl"], [2, 0, 1]),
    (WORDS[NUMBERS][:, None], ["cat", "dog", "owl"], [2, 0, 1]),
    (np.eye(4)[NUMBERS], ["0", "1", "2", "3"], [0, 1, 2]),
    (NUMBERS + 1, ["1", "2", "3"], [0, 1, 2]),
    (NUMBERS + 1.0, ["1", "2", "3"], [0, 1, 2]),
    (10 * NUMBERS + 10, ["10", "20", "30"], [0, 1, 2]),
    (1 - 2 * (NUMBERS % 2), ["-1", "1"], [1, 0, 1]),
    (2 * NUMBERS, ["0", "1", "2", "3", "4"], [0, 2, 4])])
def test_labels_are_learnt_from_in_each_form(arrays, labels, names, expected):
    data = data_of(arrays(**split(labels)), **GREY)
    assert data.index.names("label") == names
    inputs, targets = data.arrays("test", 6)
    np.testing.assert_array_equal(targets["label"], np.array(expected * 2))
    np.testing.assert_array_equal(inputs["image"][..., 0], IMAGES[24:])


@pytest.mark.parametrize(("labels", "given", "expected"), [
    (NUMBERS, ["a", "b", "c"], [0, 1, 2]), (NUMBERS + 1, ["a", "b", "c"], [0, 1, 2]),
    (NUMBERS + 1, ["a", "b", "c", "d"], [1, 2, 3]), (10 * NUMBERS, ["a", "b", "c"], [0, 1, 2]),
    (WORDS[NUMBERS], ["owl", "cat", "dog", "elk"], [0, 1, 2])])
def test_names_may_be_given_in_their_order(arrays, labels, given, expected):
    written = arrays(**split(labels))
    written["arrays"]["class_names"] = given
    source = Source.read(written)
    assert source.fields()["label"].names == given
    assert [int(example["label"]) for example in source.examples("train")] == expected * 8


@pytest.mark.parametrize(("labels", "message"), [
    (np.append(WORDS[NUMBERS][:-1], "elk"), r"y_test in .*a\.npz has the label elk, which is none of the 3 classes of "
                                            "the training part: cat, dog, owl"),
    (np.append(NUMBERS[:-1] + 1, 0), "y_test in .* has the label 0, which is none of the 3 classes"),
    (np.append(NUMBERS[:-1], 7), r"test#5 has the label 7, but there are 3 classes, 0 to 2"),
    (np.append(-1, NUMBERS[1:]), r"train#0 has the label -1, but there are 3 classes, 0 to 2"),
    (WORDS[NUMBERS].astype(object), r"has an array of Python objects; save words with \.astype\(str\)")])
def test_labels_of_no_class_are_refused(arrays, labels, message):
    with pytest.raises(UserError, match=message):
        data_of(arrays(**split(labels)), **GREY)


@pytest.mark.parametrize(("labels", "classes", "names"), [
    (NUMBERS, 3, ["0", "1", "2"]), (NUMBERS, 5, list("01234")), (NUMBERS + 1, 3, ["1", "2", "3"]),
    (NUMBERS + 1, 4, list("0123")), (np.where(NUMBERS == 1, 4, NUMBERS + 1), 4, list("1234")),
    (WORDS[NUMBERS], 5, ["cat", "dog", "owl"]), (10 * NUMBERS, 4, [str(number) for number in range(21)])])
def test_a_models_classes_may_be_more_than_those_that_occur(arrays, labels, classes, names):
    source = Source.read(arrays(**split(labels))).of_model(classes)
    assert source.fields()["label"].names == names
