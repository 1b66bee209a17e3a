"""The user's own images without classes, and the texts about them where there are."""
from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from etils import epy
from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.json_lines import JsonLines
from pipelines.ingest.sources.part_folder import PartFolder
from pipelines.ingest.sources.table_file import Csv

with epy.lazy_imports():
    import tensorflow as tf

SETTING = "data.source.images"
#: Tables of texts as Hugging Face's folders of images have them, and their column of files; and a text's own file.
TABLES, FILE, ENDING = {"metadata.csv": Csv, "metadata.jsonl": JsonLines}, "file_name", ".txt"


class Images(PartFolder, name="images", shorthand="path"):
    """A folder of images, in it or in any folders below, without classes; or train/val/test folders of such.

    Where there are texts about them, examples have a field `text`: of each image in a file beside it, cat.txt of
    cat.jpg, or in the column `text` of a table metadata.csv or metadata.jsonl, in the folder, whose column `file_name`
    says which image it is about. Hidden files and folders, and what systems leave behind, are passed over.

    Args:
        path: the folder, relative to where litepress runs.
        text: what the column of texts is called.
    """

    plural = "images"
    text: str = Setting("text", min_length=1)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.text.encode())
        for part in self.parts():
            files = self.files(part)
            for path in (*files, *self._table(part), *map(_beside, files)):
                if path.is_file():
                    status = os.stat(path)
                    digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def fields(self) -> dict[str, Field]:
        fields = {"image": Field(kind="bytes")}
        return fields | {"text": Field(kind="text")} if self._has_texts() else fields

    def size(self, part: Part) -> int | None:
        return len(self.files(part))

    def files(self, part: Part) -> list[Path]:
        """Return the images of a part, sorted. Raises UserError where there are none to learn from."""
        root = self._root(part)
        images = image_file.images(root, below=True)
        if not images and part == "train":
            raise UserError(f"{SETTING}.path: {root} has {image_file.why_none(root)}; give a folder of images "
                            f"({image_file.READ})")
        return images

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the images of a part; an example's id is its path."""
        files = self.files(part)
        chosen = files if positions is None else [files[position] for position in positions]
        columns = {"id": tf.constant([str(path) for path in chosen], tf.string)}
        if self._has_texts():
            texts = self.texts(part)
            columns["text"] = tf.constant([texts[path] for path in chosen], tf.string)
        return tf.data.Dataset.from_tensor_slices(columns).map(
            lambda row: {**row, "image": tf.io.read_file(row["id"])}, num_parallel_calls=tf.data.AUTOTUNE)

    def groups(self, part: Part, name: str, positions: Sequence[int]) -> list[str] | None:
        """Return, as `folder`, the first folder on the way to each image; of one that lies in the folder, its name."""
        if name != image_file.FOLDER:
            return super().groups(part, name, positions)
        root, files = self._root(part), self.files(part)
        return [image_file.group_of(files[position].relative_to(root).parts) for position in positions]

    def texts(self, part: Part) -> dict[Path, str]:
        """Return the text about each image of a part.

        Raises:
            UserError: one has none, or a table cannot be read, lacks a column, or tells of files that are not there.
        """
        version = [(path, os.stat(path).st_mtime_ns) for path in self._table(part)]
        known = _listed(version[0][0], self.text, version[0][1]) if version else {}
        files = self.files(part)
        if gone := sorted(set(known) - set(files)):
            raise UserError(f"{SETTING}: {version[0][0]} tells of {gone[0]}, which is "
                            f"{'no image' if gone[0].exists() else 'not there'}; take the row out, or mend the name")
        texts = {path: known[path] if path in known else _read(_beside(path)) for path in files}
        if without := [path for path, text in texts.items() if not text.strip()]:
            raise UserError(f"{SETTING}: {len(without):,} of {len(files):,} images have no text, the first "
                            f"{without[0]}; write it into {_beside(without[0]).name} beside it, or take the image out")
        return texts

    def _has_texts(self) -> bool:
        """Return whether there is a text about any image to learn from."""
        return bool(self._table("train")) or any(_beside(path).is_file() for path in self.files("train"))

    def _table(self, part: Part) -> list[Path]:
        """Return the table of texts in a part's folder; nothing where there is none."""
        return [path for name in TABLES if (path := self._root(part) / name).is_file()][:1]


def _beside(path: Path) -> Path:
    return path.with_suffix(ENDING)


def _read(path: Path) -> str:
    """Return the text in a file; nothing where there is no file. Raises UserError where it is not UTF-8."""
    try:
        return path.read_text("utf-8-sig").strip() if path.is_file() else ""
    except UnicodeDecodeError:
        raise UserError(f"{SETTING}: {path} is not a text in UTF-8; save it as such") from None


@functools.lru_cache(maxsize=8)
def _listed(path: Path, column: str, version: int) -> dict[Path, str]:
    """Return the texts in a table, by the path of the image, kept until its version changes. Raises UserError."""
    table = TABLES[path.name](path=str(path)).read_file(path)
    for name in (FILE, column):
        if name not in table.column_names:
            raise UserError(f"{SETTING}: {path} has no column {name}; it has {', '.join(table.column_names)}. "
                            + ("Call the one of the images' names so" if name == FILE else
                               "Name the one of the texts in text"))
    names, texts = (table.column(name).to_pylist() for name in (FILE, column))
    if empty := [number for number, name in enumerate(names, start=1) if not name]:
        raise UserError(f"{SETTING}: {path} row {empty[0]} has no {FILE}; fill it in, or take the row out")
    return {path.parent / str(name): "" if text is None else str(text) for name, text in zip(names, texts, strict=True)}
