"""NIfTI files: volumes and masks of them."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from etils import epy

from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.ingest.sources.volume import Grid

with epy.lazy_imports():
    import nibabel
    import numpy as np

ENDINGS = (".nii.gz", ".nii")


def files(folder: Path) -> list[Path]:
    """Return the NIfTI files in a folder and below it."""
    return sorted(path for path in image_file.files(folder, below=True) if path.name.endswith(ENDINGS))


def stem(path: Path) -> str:
    """Return the name of a file without its ending."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def grid(path: Path) -> Grid:
    """Return the voxels of a file, its last axis as slices. Raises UserError where it is not one volume."""
    image = _opened(path)
    affine = np.asarray(image.affine, float)[:, [2, 1, 0, 3]]  # from columns, rows, slices
    return Grid.of(tuple(int(size) for size in _volume(path, image)[::-1]), affine)


def values(path: Path) -> np.ndarray:
    """Return a volume, rescaled as its header says, float32 (slices, rows, columns). Raises UserError."""
    image = _opened(path)
    shape = _volume(path, image)
    try:
        numbers = image.get_fdata(dtype=np.float32, caching="unchanged")
    except Exception as error:  # zlib's, the operating system's, nibabel's
        raise UserError(f"{path} is truncated or damaged ({str(error).splitlines()[0]}); take it out") from error
    return np.transpose(numbers.reshape(shape), (2, 1, 0))


def _opened(path: Path) -> Any:
    try:
        return nibabel.load(path)
    except Exception as error:
        raise UserError(f"{path} is not a NIfTI file, or is damaged: {str(error).splitlines()[0]}. Take it "
                        "out") from error


def _volume(path: Path, image: Any) -> tuple[int, ...]:
    """Return the shape of a file that is one volume."""
    shape = tuple(image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or 0 in shape:
        raise UserError(f"{path} has the shape {' x '.join(map(str, shape))}; give volumes of three axes: of several "
                        "times or channels a file each")
    return shape
