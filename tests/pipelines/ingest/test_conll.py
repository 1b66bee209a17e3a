"""Tagged texts in CoNLL's format."""
import pytest

from pipelines.errors import UserError
from pipelines.ingest.sources.source import Source

TEXT = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC
call NN I-NP O

\u00a0Ruse\u00a0City\tNNP\tB-NP\tB-LOC
2 CD B-NP O

"""


def source(path, text=TEXT, **settings):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Source.read({"conll": {"path": str(path), **settings}})


def rows(found):
    return [(one["text"].decode(), one["tags"].decode()) for one in found.examples("train").as_numpy_iterator()]


def test_empty_lines_end_texts_and_the_last_column_is_the_tag(tmp_path):
    found = source(tmp_path / "train.txt")
    assert rows(found) == [("EU rejects German call", "B-ORG O B-MISC O"), ("\u00a0Ruse\u00a0City 2", "B-LOC O")]
    assert found.fields()["tags"].names == ["B-LOC", "B-MISC", "B-ORG", "O"]
    assert [one["id"].decode() for one in found.examples("train").as_numpy_iterator()] == [
        "train.txt row 1", "train.txt row 2"]


def test_another_column_may_be_the_tag(tmp_path):
    assert rows(source(tmp_path / "a.txt", tag=1))[0][1] == "NNP VBZ JJ NN"


def test_lines_may_end_as_windows_ends_them(tmp_path):
    assert rows(source(tmp_path / "a.txt", "Oslo\tB\r\n\r\nis O\r\n")) == [("Oslo", "B"), ("is", "O")]


@pytest.mark.parametrize(("text", "message"), [
    ("EU B-ORG\nrejects\n", "a.txt line 2 is 'rejects'; a line has a word and its tag"),
    (b"\xff O\n", r"is not UTF-8 \(byte 0\)"), ("\n\n", "has no texts"), ("-DOCSTART- O\n", "has no texts")])
def test_other_files_are_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        source(tmp_path / "a.txt", text).fields()


def test_a_column_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="line 3 is 'EU NNP B-NP B-ORG'"):
        source(tmp_path / "a.txt", tag=7).fields()
