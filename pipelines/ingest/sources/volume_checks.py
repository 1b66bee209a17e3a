"""What volumes of a source must have in common: planes, spacings, masks of their own voxels."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etils import epy

from pipelines.errors import UserError
from pipelines.ingest.sources import nifti_files
from pipelines.ingest.sources.volume import Grid, Plane

with epy.lazy_imports():
    import numpy as np

#: Spacings are alike that differ by no more than this share.
ALIKE = 0.01
#: A volume as a message names it, and its voxels.
Named = tuple[str, Grid]


def check_planes(setting: str, planes: Sequence[tuple[str, Plane | None]]) -> None:
    """Raise UserError where the slices of two volumes are not in one plane, as far as that is known."""
    known = [(name, plane) for name, plane in planes if plane is not None]
    other = next(((name, plane) for name, plane in known if plane != known[0][1]), None)
    if other is not None:
        raise UserError(f"{setting}: the slices of {known[0][0]} are {known[0][1]}, and those of {other[0]} "
                        f"{other[1]}; give {setting}.plane, for instance axial, and all are cut so")


def check_spacings(setting: str, grids: Sequence[Named], axes: slice) -> None:
    """Raise UserError where the voxels of two volumes are of different sizes, as far as these are known.

    Args:
        axes: of slices, rows and columns, those that count.
    """
    known = [(name, grid.spacing) for name, grid in grids if grid.spacing is not None]
    for name, spacing in known:
        if not np.allclose(spacing[axes], known[0][1][axes], rtol=ALIKE):
            sides = [" x ".join(f"{side:.4g}" for side in one[axes]) for one in (known[0][1], spacing)]
            raise UserError(f"{setting}: {known[0][0]} has voxels of {sides[0]} mm, and {name} of {sides[1]} mm; "
                            f"give {setting}.spacing, for instance "
                            f"[{', '.join(f'{side:.4g}' for side in known[0][1])}], and all are brought to it")


def check_spacing_is_known(setting: str, grids: Sequence[Named]) -> None:
    """Raise UserError where a volume cannot be brought to a spacing, since it does not say what its own is."""
    unknown = next((name for name, grid in grids if grid.spacing is None), None)
    if unknown is not None:
        raise UserError(f"{setting}.spacing: {unknown} does not say how far its pixels are apart; leave spacing out, "
                        "or take it out")


def check_mask(name: str, path: Path, own: Grid, plane: Plane | None) -> None:
    """Raise UserError where a mask is not of its volume's voxels.

    Args:
        name: of the volume.
        path: of the mask.
        own: the volume's voxels.
        plane: in which both are seen.
    """
    seen, other = own.turned(plane), nifti_files.grid(path).turned(plane)
    if seen.is_at(other):
        return
    shapes = [" x ".join(map(str, one.shape)) for one in (other, seen)]
    where = ("lies elsewhere in the body than it" if seen.shape == other.shape
             else f"has {shapes[0]} voxels, and it {shapes[1]}")
    raise UserError(f"data: the mask of {name}, {path}, {where}; give masks of their volumes' voxels")
