"""Sets of series in .ts files, and what is refused of them."""
import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.ingest.sources.ts_file import TsFolder, read

HEAD = "# a comment\n@problemName Toy\n@timeStamps false\n@univariate false\n@classLabel true up down\n@data\n"
ROWS = "1,2,3:4,5,6:up\n3,2,1:6,5,4:down\n"


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes a set's files and returns a source of them."""
    def write(train=HEAD + ROWS, test=HEAD + ROWS):
        (tmp_path / "Toy").mkdir(exist_ok=True)
        (tmp_path / "Toy" / "Toy_TRAIN.ts").write_text(train)
        if test is not None:
            (tmp_path / "Toy" / "Toy_TEST.ts").write_text(test)
        return TsFolder(path=str(tmp_path / "Toy"))
    return write


def test_series_have_their_steps_first_and_their_class(folder):
    source = folder()
    assert source.parts() == ["train", "test"] and source.fields()["series"].shape == (3, 2)
    second = next(iter(source.examples("test", [1]).as_numpy_iterator()))
    assert np.array_equal(second["series"], [[3, 6], [2, 5], [1, 4]])
    assert second["label"] == 1 and second["id"] == b"Toy_TEST.ts series 2"
    assert source.fields()["label"].names == ["up", "down"]


def test_a_set_may_have_a_training_part_alone(folder):
    assert folder(test=None).parts() == ["train"]


@pytest.mark.parametrize(("text", "message"), [
    (HEAD + "1,2:4,5,6:up\n", r"line 7 has variables of several lengths"),
    (HEAD + ROWS + "1,2:4,5:up\n", r"line 9 has 2 steps of 2 variables, and the first series 3 of 2"),
    (HEAD + "1,?,3:4,5,6:up\n", r"line 7 has a missing value \(\?\): fill it in"),
    (HEAD + "1,NaN,3:4,5,6:up\n", r"line 7 has a missing value"),
    (HEAD + "1,x,3:4,5,6:up\n", r"line 7 has something that is not a number"),
    (HEAD, "has no series behind @data"), ("1,2,3\n", "has no line @data"),
    (HEAD.replace("@timeStamps false", "@timeStamps true") + ROWS, "has a stamp for each value")])
def test_what_is_no_set_of_series_is_refused(tmp_path, text, message):
    (tmp_path / "a.ts").write_text(text)
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.ts")


def test_parts_must_go_together(folder):
    with pytest.raises(UserError, match=r"Toy_TEST.ts has the class sideways, which is not one of up, down"):
        folder(test=HEAD + ROWS.replace("down", "sideways")).fields()
    with pytest.raises(UserError, match=r"Toy_TEST.ts has series of 2 steps and 2 variables"):
        folder(test=HEAD + "1,2:3,4:up\n").fields()
    with pytest.raises(UserError, match="has no classes"):
        folder(train=HEAD.replace("@classLabel true up down", "@classLabel false") + "1,2,3:4,5,6\n").fields()


def test_a_folder_without_a_training_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no file that ends in _TRAIN.ts"):
        TsFolder(path=str(tmp_path)).parts()
    with pytest.raises(UserError, match="is not a folder"):
        TsFolder(path=str(tmp_path / "absent")).parts()
