"""The user's own images: a folder with one folder per class."""
from __future__ import annotations

from pathlib import Path

from pipelines.features import image_file
from pipelines.ingest.sources.class_folder import ClassFolder


class ImageFolder(ClassFolder, name="image_folder", shorthand="path"):
    """A folder of images, one folder per class, or train/val/test folders of such.

    What is an image by its name and is not read, say HEIC, counts as unreadable. Hidden files and folders, and what
    systems leave behind, are passed over.

    Args:
        path: the folder, relative to where litepress runs.
    """

    field, plural, read_files = "image", "images", image_file.READ

    def files_in(self, folder: Path, *, below: bool = False) -> list[Path]:
        return image_file.images(folder, below=below)
