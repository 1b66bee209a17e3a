"""Folders of a user's own files, as they are or in folders for each part."""
from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.ingest.index import Part
from pipelines.ingest.sources.part_names import folders_of_parts
from pipelines.ingest.sources.source import Source


class PartFolder(Source):
    """A folder of files of one kind, or train/val/test folders of such.

    Args:
        path: the folder, relative to where litepress runs.
    """

    #: Several of its files, for people.
    plural: ClassVar[str]
    path: str = Setting(min_length=1)

    @property
    def wanted(self) -> str:
        """Return what is asked for where there is no folder."""
        return f"give a folder of {self.plural}"

    def parts(self) -> list[Part]:
        known = set(folders_of_parts(self._folders(Path(self.path))).values())
        if known and "train" not in known:
            raise UserError(f"data.source.{self.entry_name}.path: {self.path} has {' and '.join(sorted(known))} but "
                            "no train folder")
        return [part for part in ("train", "validation", "test") if part in known] or ["train"]

    def _root(self, part: Part) -> Path:
        """Return the folder of a part: the whole one where there are none for parts."""
        base = Path(self.path)
        known = folders_of_parts(self._folders(base))
        return base / next((name for name, own in known.items() if own == part), ".")

    def _folders(self, folder: Path) -> list[str]:
        if not folder.is_dir():
            reason = "not a folder" if folder.exists() else "not there"
            raise UserError(f"data.source.{self.entry_name}.path: {self.path} is {reason}; "
                            f"{self.wanted}")
        return [child.name for child in image_file.folders(folder)]
