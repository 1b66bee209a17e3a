"""Tables in files: what columns turn out to be, and what is wrong with a file, in a line."""
import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from pydantic import ValidationError

from pipelines.errors import UserError
from pipelines.ingest import Source
from tests.conftest import ROOT

HOUSES = """\
area,zip,kind,sold,price
80.5,01067,flat,true,200000
NA,80331,"house, old",false,
120,50667,,true,410000
"""


@pytest.fixture
def csv(tmp_path):
    """Writes a CSV file, text or bytes, and gives the source of it."""
    def write(text=HOUSES, name="houses.csv", **settings):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return Source.read({"csv": {"path": str(tmp_path / name), **settings}})

    return write


def kinds(source):
    return {name: field.kind for name, field in source.fields().items()}


def column(source, name, part="train"):
    return source.column(part, name).tolist()


def refusal(source):
    with pytest.raises(UserError) as refused:
        source.fields()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_columns_are_what_the_file_shows(csv):
    source = csv()
    assert kinds(source) == {"area": "number", "zip": "text", "kind": "text", "sold": "text", "price": "number"}
    np.testing.assert_array_equal(column(source, "area"), [80.5, np.nan, 120])
    np.testing.assert_array_equal(column(source, "price"), [200000, np.nan, 410000])
    assert column(source, "zip") == [b"01067", b"80331", b"50667"], "a zero in front is no part of a number"
    assert column(source, "kind") == [b"flat", b"house, old", b""] and column(source, "sold") == [b"true", b"false",
                                                                                                  b"true"]
    assert source.fields()["kind"].names == ["flat", "house, old"] and source.size("train") == 3


def test_examples_are_rows_in_order_and_known_by_their_number(csv):
    rows = list(csv().examples("train", [0, 2]).as_numpy_iterator())
    assert [row["id"] for row in rows] == [b"houses.csv row 1", b"houses.csv row 3"]
    assert [row["area"] for row in rows] == [80.5, 120] and [row["kind"] for row in rows] == [b"flat", b""]


@pytest.mark.parametrize(("text", "settings"), [
    ("a;b\n1,5;x\n2;y\n", {"decimal": ","}), ("a\tb\n1.5\tx\n2\ty\n", {}), ("\ufeffa,b\n1.5,x\n2,y\n", {}),
    ("a|b\n1.5|x\n2|y\n", {"separator": "|"}), ("a,b\r\n1.5,x\r\n2,y\r\n", {}), ('"a","b"\n"1.5","x"\n"2","y"\n', {})])
def test_separators_quotes_line_ends_and_byte_order_marks(csv, text, settings):
    source = csv(text, **settings)
    assert column(source, "a") == [1.5, 2.0] and column(source, "b") == [b"x", b"y"]


def test_missing_values_are_spelled_as_usual_or_as_the_recipe_says(csv):
    spelled = "a\n1\nNA\nnan\nnull\nN/A\n\"\"\n2\n"
    assert np.isnan(column(csv(spelled), "a")).sum() == 5
    assert np.isnan(column(csv("a,b\n1,\n?,x\n", missing=["?"]), "a")).tolist() == [False, True]
    assert np.isnan(column(csv('a,b\n1,x\n" ",y\n'), "a")).tolist() == [False, True], "a space is nothing"


@pytest.mark.parametrize(("text", "message"), [
    ("", "is empty; it must have a header and rows"), ("a,b\n", "houses.csv has a header and no rows"),
    ("\n1,2\n", "is empty; it must name the columns"),
    (",a\n0,1\n", "column 1 of houses.csv has no name; give it one in the first line, or take it out"),
    ("a,b,a\n1,2,3\n", "houses.csv has two columns called a; give one of them another name"),
    ("a,b\n1,2\n1,2,3\n", "is not a CSV file that can be read: CSV parse error: Row #3: Expected 2 columns, got 3"),
    ("a,b\n1,2\ninf,3\n", "houses.csv row 2: a is infinite"),
    ("größe\n1\n".encode("latin-1"), "is not UTF-8 (byte 2); save it as UTF-8"),
    ("d\n2024-01-02\n2024-01-03\n", "houses.csv has nothing but dates and times")])
def test_a_file_that_is_no_table_is_refused(csv, text, message):
    assert message in refusal(csv(text))


@pytest.mark.parametrize("day", ["2024-05-31", "31/5/2024", "31.5.24", "2024-05-31 10:15", "2024-05-31T10:15:00Z"])
def test_dates_are_times(csv, day):
    assert kinds(csv(f"a,when\n1,{day}\n2,{day}\n")) == {"a": "number", "when": "time"}


@pytest.mark.parametrize("version", ["1.2.3", "10.0.1", "1.0.13", "2024.1", "1.2.3.4"])
def test_versions_are_no_dates(csv, version):
    assert kinds(csv(f"a,version\n1,{version}\n2,{version}\n"))["version"] in ("text", "number")


def test_a_word_among_dates_is_noted_with_its_row(csv):
    days = "".join(f"{number},2024-05-{number:02}\n" for number in range(1, 10))
    source = csv(f"a,when\n{days}10,soon\n11,\n")
    assert source.fields()["when"].note == "houses.csv row 10: when is 'soon' among dates"
    days_and_words = csv(f"a,when\n{days}10,soon\n11,later\n")
    assert not days_and_words.fields()["when"].note and kinds(days_and_words)["when"] == "text"


def test_a_word_among_numbers_is_noted_with_its_row(csv):
    rows = "".join(f"{number}\n" for number in range(20))
    note = csv(f"area\n{rows}n/k\n{rows}").fields()["area"].note
    assert note == "houses.csv row 21: area is 'n/k' among numbers"
    assert not csv("area\n1\nbig\nsmall\n").fields()["area"].note, "words and a number are words"


@pytest.fixture
def parts(tmp_path):
    """Writes a file of each part, and gives the source of them."""
    def write(**texts):
        for part, text in texts.items():
            (tmp_path / f"{part}.csv").write_text(text)
        return Source.read({"csv": {part: str(tmp_path / f"{part}.csv") for part in texts}})

    return write


def test_parts_have_files_of_their_own(parts):
    source = parts(train="a,b\n1.5,x\n2,y\n", test="b,a\nz,\n")
    assert source.parts() == ["train", "test"] and source.size("test") == 1
    assert source.fields()["b"].names == ["x", "y", "z"]
    row, = source.examples("test").as_numpy_iterator()
    assert np.isnan(row["a"]) and row["b"] == b"z" and row["id"] == b"test.csv row 1"


def test_numbers_stay_numbers_with_a_zero_in_front_in_another_part(parts):
    source = parts(train="a\n1\n20\n", test="a\n01\n02\n")
    assert kinds(source) == {"a": "number"} and column(source, "a", "test") == [1, 2]


@pytest.mark.parametrize(("test", "message"), [
    ("a\n1\n", "test.csv has no column b, which train.csv has; it has a"),
    ("a,b\nred,x\n", "test.csv has words in the column a; train.csv has numbers there"),
    ("a,b\n2024-05-31,x\n", "test.csv has words in the column a; train.csv has numbers there")])
def test_parts_must_have_the_same_columns(parts, test, message):
    assert message in refusal(parts(train="a,b\n1,x\n", test=test))


def test_text_stays_text_whatever_it_looks_like_in_another_part(parts):
    source = parts(train="a,b\n01067,A7\n80331,1.50\n", test="a,b\n50667,1.50\n50668,2024-05-31\n")
    assert kinds(source) == {"a": "text", "b": "text"}
    assert column(source, "a", "test") == [b"50667", b"50668"]
    assert column(source, "b", "test") == [b"1.50", b"2024-05-31"]


def test_the_row_numbers_of_pandas_are_no_column(tmp_path):
    rows = pa.table({"a": [1, 2], "__index_level_0__": [7, 3]})
    pyarrow.parquet.write_table(rows, tmp_path / "rows.parquet")
    assert kinds(Source.read({"parquet": str(tmp_path / "rows.parquet")})) == {"a": "number"}


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"data\.source\.csv\.path: there is no file nowhere\.csv"):
        Source.read({"csv": "nowhere.csv"}).fingerprint()


@pytest.mark.parametrize("settings", [{}, {"path": "a.csv", "train": "b.csv"}, {"path": "a.csv", "test": "b.csv"}])
def test_one_file_or_one_for_each_part(settings):
    with pytest.raises(ValidationError, match="give "):
        Source.read({"csv": settings})


def test_a_file_that_changes_is_read_again(csv):
    before = csv("a\n1\n2\n")
    assert column(before, "a") == [1, 2]
    fingerprint = before.fingerprint()
    changed = csv("a\n1\n2\n3\n")
    assert changed.fingerprint() != fingerprint and column(changed, "a") == [1, 2, 3]


def test_parquet_has_types_of_its_own(tmp_path):
    path = tmp_path / "houses.parquet"
    rows = pa.table({"area": pa.array([80.5, None, 120.0]), "rooms": pa.array([3, None, 4], pa.int32()),
                     "zip": ["01067", "80331", "50667"], "sold": [True, False, None],
                     "kind": pa.array(["flat", "house", None]).dictionary_encode(),
                     "seen": [datetime.date(2024, 5, 31)] * 3})
    pyarrow.parquet.write_table(rows, path)
    source = Source.read({"parquet": str(path)})
    assert kinds(source) == {"area": "number", "rooms": "number", "zip": "text", "sold": "text", "kind": "text",
                             "seen": "time"}
    assert column(source, "sold") == [b"true", b"false", b""] and column(source, "kind") == [b"flat", b"house", b""]
    np.testing.assert_array_equal(column(source, "rooms"), [3, np.nan, 4])
    path.write_bytes(b"not a table")
    assert "is not a Parquet file that can be read" in refusal(source)


@pytest.mark.parametrize(("name", "rows", "columns"), [("wine", 178, 13), ("breast_cancer", 569, 30),
                                                       ("diabetes", 442, 10)])
def test_scikit_learns_tables_have_their_rows_once_and_every_fifth_for_the_test(name, rows, columns):
    from sklearn import datasets

    source = Source.read(name)
    assert source.size("train") + source.size("test") == rows and len(source.fields()) == columns + 1
    assert source.size("test") == rows // 5
    loaded = getattr(datasets, f"load_{name}")()
    assert source.fields()["target"].kind == ("number" if name == "diabetes" else "text")
    if name != "diabetes":
        np.testing.assert_array_equal(source.column("test", "target"),
                                      loaded.target_names[loaded.target[4::5]].astype("S").astype(object))
        np.testing.assert_array_equal(source.column("test", list(source.fields())[3]), loaded.data[4::5, 3])


def test_the_diabetes_of_scikit_learn_are_in_their_own_units():
    assert 18 < Source.read("diabetes").column("train", "bmi").mean() < 35


def test_fingerprints_need_no_tensorflow(tmp_path):
    import subprocess
    import sys

    (tmp_path / "a.csv").write_text("a\n1\n")
    code = ("import sys\nfrom pipelines.ingest import Source\n"
            "Source.read({'csv': 'a.csv'}).fingerprint()\nSource.read('wine').fingerprint()\n"
            "assert not {'tensorflow', 'sklearn', 'pyarrow'} & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
