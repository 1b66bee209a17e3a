"""Running text, the Bible, pairs of texts and catalogues: nothing left out, nothing twice, and mistakes named."""
import polib
import pytest

from pipelines.errors import UserError
from pipelines.ingest.sources.bible import GOSPELS, Bible
from pipelines.ingest.sources.gettext import Gettext, catalogues, folder_of
from pipelines.ingest.sources.parallel_text import ParallelText, sentence
from pipelines.ingest.sources.text_lines import TextLines, cut

TEXT = "In the beginning was the Word,\nand the Word was with God.\nIt was so."


def texts(source, part="train"):
    return [text.decode() for text in source.tables()[part].columns["text"]]


@pytest.mark.parametrize("window", [2, 7, 30, 1000])
def test_stretches_are_the_text_and_end_between_words(window):
    pieces = list(cut(TEXT, window))
    assert "".join(pieces) == TEXT and max(map(len, pieces)) <= window
    if window == 30:
        assert pieces[0] == "In the beginning was the " and pieces[1] == "Word,\nand the Word was with "


def test_a_line_break_in_the_last_quarter_ends_a_stretch():
    assert next(cut("one two three\nfour five", 16)) == "one two three\n"


def test_lines_are_texts_but_for_empty_ones(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\n  \r\ntwo\r\n")
    source = TextLines(path=str(tmp_path / "a.txt"))
    assert texts(source) == ["one", "two"] and source.column("train", "file").tolist() == [b"a.txt"] * 2


def test_files_are_parts_by_their_names(tmp_path):
    for name in ("train", "test", "other"):
        (tmp_path / f"{name}.txt").write_text(f"this is {name}")
    source = TextLines(path=str(tmp_path), window=50)
    assert source.parts() == ["train", "test"]
    assert texts(source) == ["this is other", "this is train"] and texts(source, "test") == ["this is test"]


@pytest.mark.parametrize(("name", "content", "said"), [
    ("a.txt", b"abc\xff", r"a.txt: is not UTF-8 \(byte 3\); save it as UTF-8"),
    ("a.txt", b"\n \n", "there is no text to train on"), ("a.md", b"x", "has no .txt files"),
    ("test.txt", b"x", "has test, and nothing to train on")])
def test_text_that_cannot_be_read_is_named(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        TextLines(path=str(tmp_path)).tables()


def test_a_text_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere is not there; give a text file"):
        TextLines(path=str(tmp_path / "nowhere")).fingerprint()


def test_the_gospels_come_along_and_stretches_do_not_cross_chapters():
    table = Bible(window=60).tables()["train"]
    chapters = table.columns["chapter"].tolist()
    assert len(set(chapters)) == 28 + 16 + 24 + 21 and set(table.columns["book"].tolist()) == {
        b"Mat", b"Mark", b"Luke", b"John"}
    rows = zip(table.columns["text"], chapters, strict=True)
    first = b"".join(text for text, chapter in rows if chapter == b"John 1")
    assert first.startswith(b"In the beginning was the Word, and the Word was with God, and the Word was God.\n")
    assert first.count(b"\n") == 51


def test_a_file_of_something_else_is_no_bible(tmp_path):
    (tmp_path / "b.txt").write_text("Ge1:1 In the beginning\nnothing\n")
    with pytest.raises(UserError, match=r"b\.txt line 2 is no verse"):
        Bible(path=str(tmp_path / "b.txt")).tables()
    with pytest.raises(UserError, match="make data-text writes"):
        Bible(path=str(tmp_path / "c.txt")).fingerprint()
    assert GOSPELS.stat().st_size < 150_000


def test_pairs_come_from_one_file_or_two(tmp_path):
    (tmp_path / "both.tsv").write_text("a b\tA B\n\nc\tC\na b\tA B\nlong text\tL\n")
    (tmp_path / "a").write_text("x\n\ny\n")
    (tmp_path / "b").write_text("X\nlost\nY\n")
    one = ParallelText(path=str(tmp_path / "both.tsv"), longest=5).tables()["train"].columns
    two = ParallelText(source=str(tmp_path / "a"), target=str(tmp_path / "b")).tables()["train"].columns
    assert one["source"].tolist() == [b"a b", b"c"] and one["target"].tolist() == [b"A B", b"C"]
    assert two["source"].tolist() == [b"x", b"y"] and two["target"].tolist() == [b"X", b"Y"]
    assert sentence("Hello, World!") == sentence("hello world") != sentence("hello")


@pytest.mark.parametrize(("files", "said"), [
    ({"path": "a\tb\tc\n"}, "line 1 has 3 columns; it must have two"), ({"path": "\n"}, "there are no pairs"),
    ({"source": "a\n", "target": "a\nb\n"}, "has 1 lines, and target 2"), ({"source": "a\n"}, "give path, a file of"),
    ({"path": "a\tb\udcff\n"}, r"path: is not UTF-8 \(byte 3\); save it as UTF-8")])
def test_pairs_that_do_not_go_together_are_named(tmp_path, files, said):
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(UserError, match=said):
        ParallelText(**{name: str(tmp_path / name) for name in files}).tables()


def test_catalogues_are_read_with_their_placeholders():
    columns = Gettext(language="de", packages=("django",)).tables()["train"].columns
    pairs = dict(zip(columns["source"].tolist(), columns["target"].tolist(), strict=True))
    path, = (one for one in catalogues(folder_of("django"), "de") if "conf/locale" in str(one))
    entry = next(one for one in polib.mofile(str(path)) if "%(" in one.msgid and not one.msgid_plural)
    assert pairs[" ".join(entry.msgid.split()).encode()] == " ".join(entry.msgstr.split()).encode()
    assert not any(source == target for source, target in pairs.items())


def test_a_language_or_a_package_that_is_not_there_is_named():
    with pytest.raises(UserError, match="django has no catalogue in xx; it has af, am, ar"):
        Gettext(language="xx", packages=("django",)).tables()
    with pytest.raises(UserError, match="no_such_package is not installed"):
        Gettext(language="de", packages=("no_such_package",)).fingerprint()
