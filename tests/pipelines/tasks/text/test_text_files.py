"""A user's own texts: lines, rows of tables, and whole files."""
import json

import pytest

from pipelines.errors import UserError
from pipelines.features.feature import Field, Learnt
from pipelines.features.text import Text
from pipelines.ingest.index import Index
from pipelines.ingest.sources.source import Source
from pipelines.tasks.text_files import rows

FEATURES = {"tokens": Text(length=3)}
LEARNT = Learnt(names=["<PAD>", "<UNKNOWN>", "good", "bad"])
INDEX = Index(source="", digest="", splits={}, inputs={}, targets={}, learnt={"tokens": LEARNT},
              fields={"text": Field(kind="text")})


def read(path, like=None):
    titles, inputs = rows(path, FEATURES, INDEX, like)
    return list(zip(titles, inputs["tokens"].tolist(), strict=True))


def test_each_line_is_a_text(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("\ufeffgood\n\n  \nbad, good", encoding="utf-8")
    assert read(path) == [("mine.txt line 1", [2, 0, 0]), ("mine.txt line 4", [3, 1, 2])]


def test_a_line_of_ten_megabytes_is_cut_off(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("bad good " * 1_100_000 + "\n\u30be")
    assert read(path) == [("mine.txt line 1", [3, 2, 3]), ("mine.txt line 2", [1, 0, 0])]


def test_a_file_is_a_text_where_the_model_learnt_from_such(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("good\n\nbad")
    assert read(path, Source.read({"text_folder": str(tmp_path)})) == [(str(path), [2, 3, 0])]


@pytest.mark.parametrize("name", ["mine.csv", "mine.jsonl"])
def test_each_row_of_a_table_is_a_text(tmp_path, name):
    path = tmp_path / name
    texts = ["good good", "7"]
    path.write_text("number,text\n1,good good\n2,7\n" if name.endswith("csv") else
                    "\n".join(json.dumps({"number": 1, "text": text}) for text in texts))
    assert read(path) == [(f"{name} row 1", [2, 2, 0]), (f"{name} row 2", [1, 0, 0])]
    path.write_text("other\ngood\n" if name.endswith("csv") else '{"other": "good"}')
    with pytest.raises(UserError, match="has no column text; it has other"):
        read(path)


@pytest.mark.parametrize(("content", "message"), [
    (b"good\xff", r"is not UTF-8 \(byte 4\); save it as UTF-8"), (b" \n\n", "has no text; each line is one"),
    (None, "No such file")])
def test_files_without_texts_are_refused(tmp_path, content, message):
    path = tmp_path / "mine.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(path)
