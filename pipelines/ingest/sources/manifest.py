"""Lists of recordings with what is said in them: CSV, TSV, JSON Lines, Common Voice's folders, Kaldi's."""
from __future__ import annotations

import csv
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipelines.errors import UserError
from pipelines.ingest.index import Part

#: What columns are called, the likeliest first: of files, and of what is said in them.
FILES = ("file", "path", "audio_filepath", "audio_path", "audio", "file_name", "filename", "wav")
TRANSCRIPTS = ("transcript", "sentence", "text", "transcription")
#: What the columns of Kaldi's lists are called here.
FILE, TRANSCRIPT, VOICE = "file", "transcript", "voice"
#: Common Voice's lists, and the folder that its recordings lie in.
COMMON_VOICE: dict[Part, str] = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
CLIPS = "clips"
#: What says of a row in which part it is, where each part has a list of its own.
PART = "(part)"
KALDI, KALDI_TEXT, KALDI_SPEAKERS, KALDI_SEGMENTS = "wav.scp", "text", "utt2spk", "segments"
Row = Mapping[str, str]


@functools.lru_cache(maxsize=8)
def read(path: Path, changed: str) -> tuple[Row, ...]:
    """Return the rows of a list, column to text; names of files as they stand there.

    Args:
        path: a .csv, .tsv, .jsonl or .json file, or a folder of Common Voice or Kaldi.
        changed: when the file was, see `changed_at`.

    Raises:
        UserError: it is none of these, or damaged; the message names the row.
    """
    if path.is_dir():
        return tuple(_of_folder(path))
    if path.suffix.lower() in (".jsonl", ".json", ".ndjson"):
        return tuple(_json_lines(path))
    return tuple(_table(path, "\t" if path.suffix.lower() in (".tsv", ".tab") else ","))


def changed_at(path: Path) -> str:
    """Return what changes when a list does. Raises UserError where there is none."""
    files = [path] if path.is_file() else [path / name for name in (*COMMON_VOICE.values(), KALDI, KALDI_TEXT)]
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    if not states:
        raise UserError(f"data.source.recordings.path: {path} is not a list of recordings: give a CSV, TSV or JSON "
                        "Lines file, or a folder of Common Voice (train.tsv, clips) or Kaldi (wav.scp, text)")
    return str(states)


def folder_of(path: Path) -> Path:
    """Return the folder that the names of files in a list start from."""
    if path.is_dir():
        return path / CLIPS if (path / CLIPS).is_dir() else path
    return path.parent


def column(rows: Sequence[Row], named: str | None, usual: tuple[str, ...], what: str, setting: str) -> str:
    """Return the column that holds something: the named one, or the first with a usual name. Raises UserError."""
    known = list(rows[0])
    if named is not None and named not in known:
        raise UserError(f"data.source.recordings.{setting}: there is no column {named}; there are {', '.join(known)}")
    chosen = named or next((name for name in usual if name in known), None)
    if chosen is None:
        raise UserError(f"data.source.recordings: no column is called {' or '.join(usual)}; say in {setting} which one "
                        f"holds {what}: {', '.join(known)}")
    return chosen


def _table(path: Path, delimiter: str) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = (csv.DictReader(file, delimiter=delimiter) if delimiter != "\t"
                      else csv.DictReader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE))  # as Common Voice has it
            for number, row in enumerate(reader, 1):
                if None in row or None in row.values():
                    raise UserError(f"data.source.recordings: {path} row {number} has not as many columns as the first "
                                    "line")
                yield {name: value.strip() for name, value in row.items()}
    except UnicodeDecodeError as error:
        raise UserError(f"data.source.recordings: {path} is not UTF-8 (byte {error.start}); save it as such") from None
    except csv.Error as error:
        raise UserError(f"data.source.recordings: {path} cannot be read: {error}") from None


def _json_lines(path: Path) -> Iterator[Row]:
    """Yield the objects of a file, one a line; of NVIDIA NeMo's manifests too."""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise UserError(f"data.source.recordings: {path} line {number} is not a JSON object; give one a line: "
                            '{"audio_filepath": "1.wav", "text": "hello"}')
        yield {name: "" if value is None else str(value).strip() for name, value in values.items()}


def _of_folder(folder: Path) -> Iterator[Row]:
    if (folder / KALDI).is_file():
        yield from _kaldi(folder)
        return
    for part, name in COMMON_VOICE.items():
        if (folder / name).is_file():
            for row in _table(folder / name, "\t"):
                yield {PART: part, **row}


def _kaldi(folder: Path) -> Iterator[Row]:
    """Yield the utterances of a folder of Kaldi's. Raises UserError where they are parts of files, or commands."""
    if (folder / KALDI_SEGMENTS).is_file():
        raise UserError(f"data.source.recordings: {folder / KALDI_SEGMENTS} makes parts of recordings utterances; "
                        "write each into a file of its own (extract-segments)")
    files, texts, speakers = (_pairs(folder / name) for name in (KALDI, KALDI_TEXT, KALDI_SPEAKERS))
    for utterance, file in files.items():
        if file.endswith("|"):
            raise UserError(f"data.source.recordings: {folder / KALDI} has a command for {utterance}, and no file; run "
                            "it, and name the file")
        if utterance not in texts:
            raise UserError(f"data.source.recordings: {folder / KALDI_TEXT} has no transcript of {utterance}")
        yield {FILE: file, TRANSCRIPT: texts[utterance], VOICE: speakers.get(utterance, "")}


def _pairs(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = (line.strip().partition(" ") for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {name: rest.strip() for name, _, rest in lines}
