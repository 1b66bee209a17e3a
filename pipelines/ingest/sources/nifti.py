"""The user's own volumes in NIfTI files, with masks or classes."""
from __future__ import annotations

import re
from pathlib import Path

from etils import epy

from pipelines.errors import UserError
from pipelines.ingest.sources import nifti_files
from pipelines.ingest.sources.volume import Grid
from pipelines.ingest.sources.volumes import Item, Volumes

with epy.lazy_imports():
    import numpy as np

#: What nnU-Net has behind the name of an image, the number of its channel: of the first one, and of one that follows.
CHANNEL, FURTHER = "_0000", re.compile(r"_(?!0000$)\d{4}$")


class Nifti(Volumes, name="nifti", shorthand="path"):
    """NIfTI volumes as slices: images/1.nii.gz and masks/1.nii.gz, or a folder per class, or train/val/test folders of
    such.

    Volumes are turned so that the right side of the body is on the left, and the front or the head above. No patient is
    in two splits. nnU-Net's folders of one channel are read too: `images: imagesTr`, `masks: labelsTr`.

    Args:
        path: the folder, relative to where litepress runs.
        images, masks: what the folders are called.
        neighbours: slices on either side of each that go in as further channels.
        plane: how slices are cut: acquired (along the file's third axis), axial, coronal or sagittal.
        spacing: millimetres that all volumes are brought to, one number or [slices, rows, columns].
        patient: a regular expression that finds the patient in the name of a file and the folders that it is in; by
            default the first folder, or the file itself.
    """

    def found(self, folder: Path) -> list[Item]:
        """Return the volumes, sorted by name. Raises UserError where files are channels of one volume, as nnU-Net
        names them, and `patient` does not say that they are not."""
        files = {str(path.relative_to(folder).with_name(nifti_files.stem(path))): path
                 for path in nifti_files.files(folder)}
        channels = {name.removesuffix(CHANNEL): name for name in files if name.endswith(CHANNEL)}
        others = {base: name for name in files if (base := _numbered(name)) in channels}
        if others and self.patient is None:
            base, other = next(iter(others.items()))
            raise UserError(f"{self._setting}: {files[channels[base]]} and {files[other]} are channels of one volume "
                            "by nnU-Net's names, and volumes have one channel here; keep one of them, or, if they are "
                            f"volumes of their own, give {self._setting}.patient")
        return [Item(name if name.removesuffix(CHANNEL) in others else name.removesuffix(CHANNEL), (str(path),))
                for name, path in files.items()]

    def grid_of(self, item: Item) -> Grid:
        return nifti_files.grid(Path(item.paths[0]))

    def values_of(self, item: Item) -> np.ndarray:
        return nifti_files.values(Path(item.paths[0]))


def _numbered(name: str) -> str | None:
    """Return the name before the number of a channel behind the first; None where it has none."""
    match = FURTHER.search(name)
    return name[:match.start()] if match else None
