"""The user's own series of DICOM files, with masks or classes."""
from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from etils import epy

from pipelines.ingest.sources import dicom_series
from pipelines.ingest.sources.volume import Grid
from pipelines.ingest.sources.volumes import Item, Volumes

with epy.lazy_imports():
    import numpy as np


class Dicom(Volumes, name="dicom", shorthand="path"):
    """DICOM series as slices: images/1/*.dcm and masks/1.nii.gz, or a folder per class, or train/val/test folders of
    such.

    Numbers are rescaled by slope and intercept: Hounsfield units in computed tomography. Slices are sorted by where
    they are, and turned so that the right side of the body is on the left, and the front or the head above. No patient,
    by the files' PatientID, is in two splits.

    Args:
        path: the folder, relative to where litepress runs.
        images, masks: what the folders are called; masks are NIfTI files, one for each series.
        neighbours: slices on either side of each that go in as further channels.
        plane: how slices are cut: acquired, axial, coronal or sagittal.
        spacing: millimetres that all volumes are brought to, one number or [slices, rows, columns].
        patient: a regular expression that finds the patient in the name of a series, where PatientID does not say it.
    """

    def found(self, folder: Path) -> list[Item]:
        """Return the series in a folder and below it: called after their folder where they are alone in it, else after
        their first file."""
        series: dict[tuple[Path, str], list[Path]] = defaultdict(list)
        for path in dicom_series.files(folder):
            series[path.parent, dicom_series.header(path).series].append(path)
        parents = [parent for parent, _ in series]
        items = []
        for (parent, _), paths in series.items():
            is_alone = parent != folder and parents.count(parent) == 1
            named = parent if is_alone else dicom_series.without_ending(paths[0])
            items.append(Item(str(named.relative_to(folder)), tuple(map(str, paths))))
        return sorted(items, key=lambda item: item.name)

    def grid_of(self, item: Item) -> Grid:
        return self._ordered(item)[0]

    def values_of(self, item: Item) -> np.ndarray:
        return dicom_series.values(self._ordered(item)[1])

    def patient_in(self, item: Item) -> str:
        return dicom_series.header(Path(item.paths[0])).patient

    def _ordered(self, item: Item) -> tuple[Grid, list[dicom_series.Frame]]:
        return dicom_series.grid([frame for path in item.paths for frame in dicom_series.header(Path(path)).frames])
