"""The user's own recordings: a folder with one folder per class."""
from __future__ import annotations

from pathlib import Path

from pipelines.features import audio_file, image_file
from pipelines.ingest.sources.class_folder import ClassFolder


class AudioFolder(ClassFolder, name="audio_folder", shorthand="path"):
    """A folder of recordings, one folder per class, or train/val/test folders of such.

    What is a recording by its name and is not read, say AAC, counts as unreadable. Hidden files and folders, and what
    systems leave behind, are passed over.

    Args:
        path: the folder, relative to where litepress runs.
    """

    field, plural, read_files = "audio", "recordings", audio_file.READ

    def files_in(self, folder: Path, *, below: bool = False) -> list[Path]:
        return sorted(path for path in image_file.files(folder, below=below) if audio_file.is_recording(path))
