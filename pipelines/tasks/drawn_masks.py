"""What a model says of the pixels of a user's own images: as files of its numbers, and over the images."""
from __future__ import annotations

import collections
import re
from collections.abc import Sequence
from pathlib import Path

from etils import epy

from pipelines.errors import UserError
from pipelines.features import image_file, scan
from pipelines.figures import figures
from pipelines.ingest.index import Index

with epy.lazy_imports():
    import matplotlib.colors
    import numpy as np
    import PIL.Image

#: How much of the colour of a class is over the image.
STRENGTH = 0.45
#: Behind the name of a file with numbers.
SUFFIX = "_mask"
#: What is taken off the names of files: endings of images, and of volumes.
ENDINGS = image_file.SUFFIXES | {".nii", ".dcm", ".dicom", ".ima"}


def write(files: Sequence[Path], images: Sequence[np.ndarray], masks: Sequence[np.ndarray], index: Index,
          folder: Path) -> None:
    """Write, for each image, `<name>_mask.png` with the number of each pixel, of 16 bits where there are more than 255,
    and `<name>.png`, the image with a colour for each number but 0.

    Args:
        files: whose names are taken, see `names_of`.
        images: raw, as the model was given them, (height, width, channels).
        masks: whole numbers (height, width).
        folder: is made where it is not there.

    Raises:
        UserError: one of the images would be written over.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = {file.resolve() for file in files}
    window = next(iter(scan.windows(index.learnt).values()), (0.0, scan.LEVELS))
    for name, image, mask in zip(names_of(files), images, masks, strict=True):
        targets = [folder / f"{name}.png", folder / f"{name}{SUFFIX}.png"]
        if covered := next((target for target in targets if target.resolve() in own), None):
            raise UserError(f"predict: --out {folder}: {covered} is one of the images; give another folder")
        over(image, mask, window).save(targets[0])
        PIL.Image.fromarray(mask.astype("uint8" if mask.max(initial=0) < 256 else "uint16")).save(targets[1])


def over(image: np.ndarray, mask: np.ndarray, window: tuple[float, float]) -> PIL.Image.Image:
    """Return an image with a colour for each number of its mask but 0.

    Args:
        image: (height, width, channels); of another number than three that in the middle is drawn.
        window: the values that are black and white.
    """
    pixels = np.clip(scan.to_levels(image.astype("float32"), window), 0, scan.LEVELS)
    if pixels.shape[-1] != 3 or window != (0.0, scan.LEVELS):
        pixels = np.repeat(pixels[..., pixels.shape[-1] // 2, None], 3, axis=-1)
    colors = np.array([matplotlib.colors.to_rgb(color) for color in figures.COLORS]) * scan.LEVELS
    painted = colors[(mask.astype(int) - 1) % len(colors)]
    mixed = np.where((mask > 0)[..., None], (1 - STRENGTH) * pixels + STRENGTH * painted, pixels)
    return PIL.Image.fromarray(mixed.round().astype("uint8"))


def names_of(files: Sequence[Path]) -> list[str]:
    """Return what the drawings of files are called, each otherwise: as its file without its ending, where several are
    called so with the folder before it, and else with a number behind it. A slice of a volume keeps its number."""
    plain = [_without_ending(file.name) for file in files]
    counts = collections.Counter(plain)
    named = [name if counts[name] == 1 or not file.parent.name else f"{file.parent.name}_{name}"
             for file, name in zip(files, plain, strict=True)]
    taken: set[str] = set()
    return [_free(name, taken) for name in named]


def _without_ending(name: str) -> str:
    """Return a name without the ending of an image or a volume: numbers with dots have none."""
    whole, behind = re.fullmatch(r"(.*?)((?: slice \d+)?)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    stem = whole.removesuffix(".gz")
    path = Path(stem)
    return (path.stem if path.suffix.lower() in ENDINGS else whole) + behind


def _free(wanted: str, taken: set[str]) -> str:
    """Return a name that no other drawing has, and take it."""
    name, number = wanted, 1
    while {name, f"{name}{SUFFIX}"} & taken:
        number += 1
        name = f"{wanted}_{number}"
    taken |= {name, f"{name}{SUFFIX}"}
    return name
