"""Corpora larger than memory: running text in many files, read as a stream."""
from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from etils import epy
from pydantic import Field as Setting

from export.errors import first_line
from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Part, select
from pipelines.ingest.sources.source import Source
from pipelines.ingest.sources.text_lines import cut

with epy.lazy_imports():
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as parquet
    import tensorflow as tf

#: What shards may be, by their endings, and how they are compressed.
LINES, TABLE = (".txt", ".jsonl"), ".parquet"
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
WHERE = "data.source.text_shards"
#: Bytes that are read at once, and rows of a table.
CHUNK, ROWS = 2**20, 256
#: Characters of a text file that are cut into stretches together, in whole lines.
PASSAGE = 2**16


class TextShards(Source, name="text_shards", shorthand="path"):
    """Text in many files, shards: .txt, .jsonl or .parquet, the first two also as .gz or .zst. `text` is a stretch of
    it. They are read as a stream, some shards at a time in turn, and are never in memory as a whole.

    Their order is shuffled by a seed, and that of the stretches, some thousands at a time, by the recipe's, anew in
    each epoch: a training that goes on after an interruption has the batches that it would have had.

    Args:
        path: a folder, whose shards are taken, those in folders below too, or a glob.
        validation, test: the same of these parts; cut from the first where not given.
        field: what a line of .jsonl, or a row of .parquet, calls the text.
        window: characters of a stretch, at most; where not given, each line of .txt, and each text of others, is one.
        seed: of the order of the shards.
        together: shards that are read in turn.
    """

    path: str = Setting(min_length=1)
    validation: str | None = Setting(None, min_length=1)
    test: str | None = Setting(None, min_length=1)
    field: str = Setting("text", min_length=1)
    window: int | None = Setting(None, ge=2)
    seed: int = Setting(0, ge=0)
    together: int = Setting(8, ge=1, le=256)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.field} {self.window} {self.seed} {self.together}".encode())
        for part in self.parts():
            for path in self.shards(part):
                status = path.stat()
                digest.update(f"{part} {path} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def fields(self) -> dict[str, Field]:
        return {"text": Field(kind="text")}

    def parts(self) -> list[Part]:
        return ["train", *(part for part in ("validation", "test") if getattr(self, part))]  # type: ignore[list-item]

    def shards(self, part: Part) -> list[Path]:
        """Return the files of a part, in the order in which they are begun. Raises UserError where there are none."""
        name = "path" if part == "train" else part
        pattern = str(getattr(self, name))
        found = Path(pattern).rglob("*") if Path(pattern).is_dir() else map(Path, glob.glob(pattern, recursive=True))
        paths = sorted(path for path in found if path.is_file() and _kind(path) and not path.name.startswith("."))
        if not paths:
            raise UserError(f"{WHERE}.{name}: {pattern} has no shards: files that end with "
                            f"{', '.join((*LINES, *(LINES[1] + end for end in COMPRESSED), TABLE))}")
        return [paths[number] for number in np.random.default_rng(self.seed).permutation(len(paths))]

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the stretches of a part; one's id is its shard and its number there."""
        shards = [str(path) for path in self.shards(part)]

        def stretches(shard: tf.Tensor) -> tf.data.Dataset:
            texts = tf.data.Dataset.from_generator(
                self._encoded, args=(shard,), output_signature=tf.TensorSpec((), tf.string))
            return texts.enumerate().map(lambda number, text: {
                "text": text, "id": tf.strings.join([shard, "#", tf.strings.as_string(number + 1)])})

        stream = tf.data.Dataset.from_tensor_slices(shards).interleave(
            stretches, cycle_length=min(self.together, len(shards)), num_parallel_calls=1, deterministic=True)
        return select(stream, positions)

    def texts(self, path: Path) -> Iterator[str]:
        """Yield the stretches of a shard, of which little is in memory. Raises UserError with its name where it
        cannot be read."""
        for text in _texts(path, self.field, whole_lines=self.window is None):
            yield from [text] if self.window is None else cut(text, self.window)

    def diagnose(self, part: Part, error: Exception) -> str:
        for path in self.shards(part):
            try:
                for _ in self.texts(path):
                    pass
            except UserError as reason:
                return str(reason)
        return super().diagnose(part, error)

    def _encoded(self, shard: bytes) -> Iterator[bytes]:
        return (text.encode() for text in self.texts(Path(shard.decode())) if text.strip())


def _kind(path: Path) -> str:
    """Return the ending of a shard without that of its compression; "" of a file that is none."""
    ending = Path(path.stem).suffix.lower() if path.suffix.lower() in COMPRESSED else path.suffix.lower()
    return ending if ending in LINES or (ending == TABLE and path.suffix.lower() == TABLE) else ""


def _texts(path: Path, field: str, *, whole_lines: bool) -> Iterator[str]:
    """Yield the texts of a shard: lines, or passages of whole lines, of a .txt. Raises UserError."""
    try:
        if _kind(path) == TABLE:
            yield from _rows(path, field)
        elif _kind(path) == LINES[1]:
            for number, line in enumerate(_lines(path), 1):
                if line.strip():
                    yield _field(line, field, f"{path} line {number}")
        elif whole_lines:
            yield from (line for line in (line.rstrip("\n") for line in _lines(path)) if line.strip())
        else:
            yield from _passages(path)
    except (OSError, EOFError, pa.ArrowException) as error:
        raise UserError(f"{WHERE}: {path} cannot be read: {first_line(error)}; make the shard again, or take it away"
                        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{WHERE}: {path} is not UTF-8 (byte {error.object[error.start]:#x}); save it as UTF-8"
                        ) from None


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a shard, each with its end."""
    rest = b""
    with pa.input_stream(str(path), compression=COMPRESSED.get(path.suffix.lower()), buffer_size=CHUNK) as stream:
        while chunk := stream.read(CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line.removesuffix(b"\r").decode() + "\n" for line in lines)
    if rest:
        yield rest.decode()


def _passages(path: Path) -> Iterator[str]:
    """Yield a text file in passages of whole lines."""
    passage: list[str] = []
    size = 0
    for line in _lines(path):
        passage.append(line)
        size += len(line)
        if size >= PASSAGE:
            yield "".join(passage)
            passage, size = [], 0
    if passage:
        yield "".join(passage)


def _rows(path: Path, field: str) -> Iterator[str]:
    with parquet.ParquetFile(path) as file:
        if field not in file.schema_arrow.names:
            raise UserError(f"{WHERE}: {path} has no column {field}; it has {', '.join(file.schema_arrow.names)}. Name "
                            f"the text in {WHERE}.field")
        for batch in file.iter_batches(ROWS, columns=[field]):
            yield from (str(text) for text in batch.column(0).to_pylist() if text)


def _field(line: str, field: str, where: str) -> str:
    try:
        known = json.loads(line)
    except ValueError as error:
        raise UserError(f"{WHERE}: {where} is not JSON: {first_line(error)}") from None
    if not isinstance(known, dict) or not isinstance(known.get(field), str):
        has = ", ".join(known) if isinstance(known, dict) else "no names"
        raise UserError(f"{WHERE}: {where} has no text {field}; it has {has}. Name the text in {WHERE}.field")
    return known[field]
