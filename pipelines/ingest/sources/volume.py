"""Volumes of a body: where their voxels are, and how they are looked at."""
from __future__ import annotations

import dataclasses
import itertools
from typing import Literal

from etils import epy

with epy.lazy_imports():
    import nibabel.orientations
    import nibabel.volumeutils
    import numpy as np
    import scipy.ndimage

Plane = Literal["axial", "coronal", "sagittal"]
#: Where the axes of a volume point, slices, rows and columns, so that it lies as radiologists look at it: the right
#: side of the body on the left of the image, the front or the head above. Letters are those of nibabel.
UPRIGHT: dict[Plane, tuple[str, str, str]] = {
    "axial": ("S", "P", "L"), "coronal": ("A", "I", "L"), "sagittal": ("L", "I", "P")}
#: The plane of slices by where their axis points.
PLANES: dict[str, Plane] = {"S": "axial", "I": "axial", "A": "coronal", "P": "coronal", "L": "sagittal",
                            "R": "sagittal"}
#: Voxels may be off by so much of their shortest side and still be at the same place.
SLACK = 0.5


@dataclasses.dataclass(frozen=True)
class Grid:
    """The voxels of a volume: slices, rows, columns.

    Args:
        shape: how many there are.
        affine: from their numbers to millimetres to the right's opposite, the front and the head (RAS), (4, 4); None
            where the file does not say where they are.
        spacing: between slices, rows and columns, in millimetres; None where the file does not say it, and each side
            of a pixel counts as 1.
    """

    shape: tuple[int, ...]
    affine: np.ndarray | None
    spacing: tuple[float, ...] | None

    @classmethod
    def of(cls, shape: tuple[int, ...], affine: np.ndarray) -> Grid:
        """Return the grid of an affine map."""
        return cls(shape, affine, tuple(float(side) for side in np.sqrt((affine[:3, :3] ** 2).sum(axis=0))))

    @property
    def plane(self) -> Plane | None:
        """Return the plane that its slices are nearest to; None where it is not known."""
        return None if self.affine is None else PLANES[nibabel.orientations.aff2axcodes(self.affine)[0]]

    def turned(self, plane: Plane | None) -> Grid:
        """Return the grid of a volume that was turned upright."""
        if self.affine is None or plane is None:
            return self
        turn = _turn(self.affine, plane)
        shape = tuple(np.asarray(self.shape)[np.argsort(turn[:, 0])].tolist())
        known = Grid.of(shape, self.affine @ nibabel.orientations.inv_ornt_aff(turn, self.shape))
        return known if self.spacing is not None else known.without_spacing()

    def without_spacing(self) -> Grid:
        """Return the grid of a volume of which it is known how it lies, and not how far its pixels are apart."""
        return dataclasses.replace(self, spacing=None)

    def resampled(self, spacing: tuple[float, ...] | None) -> Grid:
        """Return the grid of a volume whose voxels were brought to a spacing; itself where there is none."""
        if spacing is None or self.spacing is None:
            return self
        shape = tuple(max(1, round(size * own / other))
                      for size, own, other in zip(self.shape, self.spacing, spacing, strict=True))
        return Grid(shape, None, spacing)

    def is_at(self, other: Grid) -> bool:
        """Return whether the voxels of both are at the same places, as far as that is known."""
        if self.shape != other.shape:
            return False
        if self.affine is None or other.affine is None or self.spacing is None:
            return True
        ends = [(0, size - 1) for size in self.shape]
        corners = np.array([[*corner, 1] for corner in itertools.product(*ends)], float).T
        apart = np.linalg.norm(((self.affine - other.affine) @ corners)[:3], axis=0)  # nothing between is farther
        return bool(apart.max() <= SLACK * min(self.spacing))


def turned(values: np.ndarray, grid: Grid, plane: Plane | None) -> np.ndarray:
    """Return a volume (slices, rows, columns) turned upright, see `UPRIGHT`, its slices in a plane."""
    if grid.affine is None or plane is None:
        return values
    return np.ascontiguousarray(nibabel.orientations.apply_orientation(values, _turn(grid.affine, plane)))


def resampled(values: np.ndarray, shape: tuple[int, ...], *, is_mask: bool) -> np.ndarray:
    """Return a volume of another shape: its values between voxels linear, those of a mask the nearest one's."""
    if values.shape == shape:
        return values
    factors = [size / own for size, own in zip(shape, values.shape, strict=True)]
    return scipy.ndimage.zoom(values, factors, order=0 if is_mask else 1, mode="nearest", grid_mode=True)


def stacked(values: np.ndarray, number: int, neighbours: int) -> np.ndarray:
    """Return a slice with those around it, float32 (rows, columns, 1 + 2 * neighbours); beyond the first and the last
    they come again."""
    around = np.clip(np.arange(number - neighbours, number + neighbours + 1), 0, len(values) - 1)
    return np.moveaxis(values[around], 0, -1).astype("float32")


def _turn(affine: np.ndarray, plane: Plane) -> np.ndarray:
    return nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(affine), nibabel.orientations.axcodes2ornt(UPRIGHT[plane]))
