"""Lists of recordings: CSV, JSON Lines, Common Voice and Kaldi, and what is wrong with some."""
import json

import numpy as np
import pytest
import soundfile

from pipelines.errors import UserError
from pipelines.ingest.sources.recordings import Recordings
from pipelines.tasks.audio_classification import AudioClassification
from tests.pipelines.ingest.conftest import data_of, index_of

LINES = ["file,word,voice,text", *(f"{voice}-{word}.wav,{word},{voice},they say {word}" for voice in "abcdef"
                                   for word in ("yes", "no"))]


@pytest.fixture
def folder(tmp_path):
    """Return a folder of twelve recordings and their list."""
    for line in LINES[1:]:
        path = tmp_path / line.split(",")[0]
        soundfile.write(path, np.full(2000, 0.1 if "yes" in line else -0.1), 16_000)
    (tmp_path / "list.csv").write_text("\n".join(LINES))
    return tmp_path


def texts(source, part="train"):
    return [example["transcript"].decode() for example in source.examples(part).as_numpy_iterator()]


def test_a_column_is_learnt_and_another_keeps_voices_apart(folder):
    source = {"recordings": {"path": str(folder / "list.csv"), "label": "word"}}
    data = data_of(source, AudioClassification(), audio={"seconds": 0.1}, group="voice", batch=2)
    assert data.index.names("label") == ["no", "yes"]
    voices = {}
    for part, split in data.index.splits.items():
        names = data.section.source.groups("train", "voice", split.positions)
        voices[part] = set(names)
    assert not voices["train"] & voices["test"] and not voices["train"] & voices["validation"]
    inputs, targets = data.arrays("train", 4)
    np.testing.assert_array_equal(inputs["audio"][:, 0] > 0, targets["label"] == 1)


def test_rows_are_chosen_and_voices_tested_on(folder):
    source = Recordings(path=str(folder / "list.csv"), label="word", where={"voice": ["a", "b", "c"]},
                        test={"voice": ["c"]})
    assert source.parts() == ["train", "test"]
    assert [source.size(part) for part in source.parts()] == [4, 2]
    assert source.column("test", "voice").tolist() == [b"c", b"c"]


def test_all_kinds_of_lists_say_the_same(folder):
    (folder / "list.tsv").write_text("\n".join(LINES).replace(",", "\t"))
    rows = [dict(zip(("audio_filepath", "word", "voice", "text"), line.split(","), strict=True)) for line in LINES[1:]]
    (folder / "list.jsonl").write_text("\n".join(json.dumps({**row, "duration": 0.125}) for row in rows))
    (folder / "wav.scp").write_text("".join(f"{number} {row['audio_filepath']}\n" for number, row in enumerate(rows)))
    (folder / "text").write_text("".join(f"{number} {row['text']}\n" for number, row in enumerate(rows)))
    (folder / "utt2spk").write_text("".join(f"{number} {row['voice']}\n" for number, row in enumerate(rows)))
    expected = texts(Recordings(path=str(folder / "list.csv")))
    assert expected[:2] == ["they say yes", "they say no"] and len(expected) == 12
    for path in (folder / "list.tsv", folder / "list.jsonl", folder):
        assert texts(Recordings(path=str(path))) == expected
    assert Recordings(path=str(folder)).column("train", "voice").tolist()[0] == b"a"


def test_common_voice_has_parts_and_clips(folder):
    (folder / "clips").mkdir()
    for path in folder.glob("*.wav"):
        path.rename(folder / "clips" / path.name)
    for name, voices in (("train", "abcd"), ("dev", "e"), ("test", "f")):
        rows = [f"id\t{voice}-yes.wav\tthey \"say\" {voice}" for voice in voices]
        (folder / f"{name}.tsv").write_text("\n".join(["client_id\tpath\tsentence", *rows]))
    source = Recordings(path=str(folder))
    source.prepare()
    assert source.parts() == ["train", "validation", "test"]
    assert texts(source, "validation") == ['they "say" e']


@pytest.mark.parametrize(("settings", "lines", "reason"), [
    ({}, None, "is not a list of recordings: give a CSV, TSV or JSON Lines file, or a folder of Common Voice"),
    ({}, LINES[:1], "lists nothing"),
    ({}, ["word,voice", "yes,a"], "no column is called file or path .* say in file which one holds the files"),
    ({"label": "language"}, LINES, "label: there is no column language; there are file, word, voice, text"),
    ({"where": {"voice": ["z"]}}, LINES, "where: .* has no such rows"),
    ({"where": {"speaker": ["z"]}}, LINES, "where: there is no column speaker"),
    ({"split": "voice"}, LINES, "has 'a' in the column voice; it must be train, validation or test"),
    ({"label": "word", "test": {"word": ["no"]}}, LINES, "no training recording has the word no, which others have"),
    ({"label": "voice"}, ["file,voice", "a-yes.wav,"], "has rows without voice; fill it in"),
    ({}, [*LINES, "g.wav,yes"], "row 13 has not as many columns as the first line"),
    ({}, [*LINES, "gone.wav,yes,g,yes"], r"1 file is not there, the first .*gone\.wav"),
    ({"test": {"voice": list("abcdef")}}, LINES, "has no recordings to train on")])
def test_what_is_wrong_with_a_list_is_said(folder, settings, lines, reason):
    (folder / "list.csv").unlink()
    if lines is not None:
        (folder / "list.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match=reason):
        source = Recordings(path=str(folder / "list.csv"), **settings)
        source.fields()
        source.parts()
        source.prepare()


def test_a_line_that_is_no_object_is_named(folder):
    (folder / "list.jsonl").write_text('{"file": "a-yes.wav"}\n["b"]\n')
    with pytest.raises(UserError, match="line 2 is not a JSON object"):
        Recordings(path=str(folder / "list.jsonl")).fields()


def test_latin_1_is_refused(folder):
    (folder / "list.csv").write_bytes("file,text\na-yes.wav,déjà\n".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8"):
        Recordings(path=str(folder / "list.csv")).fields()


@pytest.mark.parametrize(("files", "reason"), [
    ({"segments": "1 a 0 1\n"}, "makes parts of recordings utterances"),
    ({"wav.scp": "1 sox a.wav |\n"}, "has a command for 1, and no file"),
    ({"text": ""}, "has no transcript of 1")])
def test_what_is_not_read_of_kaldi_is_said(folder, files, reason):
    for name, content in {"wav.scp": "1 a-yes.wav\n", "text": "1 yes\n", **files}.items():
        (folder / name).write_text(content)
    with pytest.raises(UserError, match=reason):
        Recordings(path=str(folder)).fields()


def test_a_list_without_labels_says_what_to_name(folder):
    with pytest.raises(UserError, match="label: say which column is learnt: file, word, voice, text"):
        index_of({"recordings": str(folder / "list.csv")}, AudioClassification())
