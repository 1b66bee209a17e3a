"""The user's own texts: a folder with one folder of text files per class."""
from __future__ import annotations

from pathlib import Path

from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.features.feature import Field
from pipelines.ingest.sources.class_folder import ClassFolder
from pipelines.ingest.sources.part_names import folders_of_parts

ENDING = ".txt"


class TextFolder(ClassFolder, name="text_folder", shorthand="path"):
    """A folder of .txt files in UTF-8, one folder per class, or train/val/test folders of such.

    A file is one text. Hidden files and folders, and what systems leave behind, are passed over.

    Args:
        path: the folder, relative to where litepress runs.
        classes: the folders to take; all of them where not given.
    """

    field, plural, read_files = "text", f"{ENDING} files", "in UTF-8"
    classes: tuple[str, ...] | None = Setting(None, min_length=2)

    def fields(self) -> dict[str, Field]:
        return super().fields() | {self.field: Field(kind="text")}

    def files_in(self, folder: Path, *, below: bool = False) -> list[Path]:
        return sorted(path for path in image_file.files(folder, below=below) if path.suffix.lower() == ENDING)

    def _classes(self) -> list[str]:
        root = self._root("train")
        known = super()._folders(root)
        if absent := [name for name in self.classes or () if name not in known]:
            raise UserError(f"data.source.text_folder.classes: {root} has no folder {absent[0]}; it has "
                            f"{', '.join(known) or 'none'}")
        return super()._classes()

    def _folders(self, folder: Path) -> list[str]:
        """Return the folders in one: those of parts, or of the classes that are taken, in their order."""
        names = super()._folders(folder)
        if self.classes is None or folders_of_parts(names):
            return names
        return [name for name in self.classes if name in names]
