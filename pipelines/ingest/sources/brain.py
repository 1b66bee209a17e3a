"""Slices of a human head that come inside the nilearn package."""
from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from etils import epy

from export.targets import tools
from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Part, select
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import nibabel
    import numpy as np
    import tensorflow as tf

EXTRA = "medical"
#: The volumes: magnetic resonance, and how much of each voxel is grey and white matter, all 0 to 255.
FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
NAMES = ["background", "white", "grey", "other"]
BACKGROUND, WHITE, GREY, OTHER = range(4)
#: Of what is neither grey nor white matter, the least value that is not background.
TISSUE = 40
#: Voxels that are at least half of a kind are of it.
HALF = 128
#: Rows (front to back) and columns (the right side to the left) of a slice at half resolution.
SIZE = (112, 96)
#: The lowest slice, how many make a block, and the part that each block belongs to.
FIRST, BLOCK = 40, 10
BLOCKS: tuple[Part, ...] = ("train", "train", "test", "train", "validation", "train", "train", "test", "train",
                            "validation", "train")


class Brain(Source, name="brain"):
    """Slices of a brain with masks of white and grey matter, 112 x 96 grey pixels, that come inside nilearn.

    They are axial, a pixel is 2 mm wide, and the fourth class is tissue that is neither. They come out of the MNI152
    template, nonlinear symmetric 2009a: the average of the magnetic resonance images (T1) of 152 young adults, and how
    likely each voxel is grey and white matter. Fonov et al., "Unbiased average age-appropriate atlases for pediatric
    studies", NeuroImage 2011, and "Unbiased nonlinear average age-appropriate brain templates from birth to adulthood",
    NeuroImage 2009. Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological
    Institute, McGill University: it may be used, copied, modified and distributed for any purpose, with this notice.

    Of 110 slices, 1 mm apart, blocks of ten are held out, and the first slice of a block is left out where the block
    below belongs to another part: a slice that is tested on is at least 2 mm from those that were learnt from. It is
    one brain all the same, and an average one, on which models do better than on patients.
    """

    medical: ClassVar[bool] = True

    def fingerprint(self) -> str:
        if missing := tools.missing(EXTRA):
            raise UserError(f"data.source: brain comes inside nilearn: {missing}")
        return f"brain nilearn {importlib.metadata.version('nilearn')}"

    def fields(self) -> dict[str, Field]:
        return {"image": Field(kind="bytes", shape=(*SIZE, 1)), "mask": Field(kind="array", names=NAMES, shape=SIZE)}

    def parts(self) -> list[Part]:
        return ["train", "validation", "test"]

    def size(self, part: Part) -> int | None:
        return len(slices(part))

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the slices of a part from below to above, images as PNG; an example's id is slice 40 and so on."""
        chosen = slices(part)
        image, mask = _images(chosen), _masks(chosen)
        names = [f"slice {number}" for number in chosen]
        examples = tf.data.Dataset.from_tensor_slices({"image": image, "mask": mask, "id": names})
        return select(examples, positions).map(
            lambda example: {**example, "image": tf.io.encode_png(example["image"])})


def slices(part: Part) -> list[int]:
    """Return the numbers of a part's slices, from below."""
    chosen: list[int] = []
    for number, owner in enumerate(BLOCKS):
        if owner == part:
            start = FIRST + BLOCK * number
            touches_another = number > 0 and BLOCKS[number - 1] != part
            chosen += range(start + touches_another, start + BLOCK)
    return chosen


def _images(chosen: Sequence[int]) -> np.ndarray:
    """Return slices as raw pixels, uint8 (slices, height, width, 1)."""
    return np.round(_halved("t1", chosen)).astype("uint8")[..., None]


def _masks(chosen: Sequence[int]) -> np.ndarray:
    """Return the classes of slices, uint8 (slices, height, width)."""
    pixels, grey, white = (_halved(kind, chosen) for kind in ("t1", "gm", "wm"))
    masks = np.where(pixels > TISSUE, OTHER, BACKGROUND)
    masks = np.where((white >= HALF) & (white > grey), WHITE, masks)
    return np.where((grey >= HALF) & (grey >= white), GREY, masks).astype("uint8")


def _halved(kind: str, chosen: Sequence[int]) -> np.ndarray:
    """Return slices of a volume as radiologists look at them, the front above and the right side on the left: means of
    2 x 2 voxels, cut to their middle, float (slices, height, width)."""
    volume = np.asarray(nibabel.nifti1.load(_folder() / FILE.format(kind)).dataobj)
    upright = volume[::-1, ::-1].transpose(2, 1, 0)[list(chosen)].astype(float)  # the file has right, front, above last
    height, width = (side // 2 for side in upright.shape[1:])
    halved = upright[:, :2 * height, :2 * width].reshape(-1, height, 2, width, 2).mean(axis=(2, 4))
    top, left = (height - SIZE[0]) // 2, (width - SIZE[1]) // 2
    return halved[:, top:top + SIZE[0], left:left + SIZE[1]]


def _folder() -> Path:
    """Return where nilearn keeps its data, without the seconds that importing it takes."""
    found = importlib.util.find_spec("nilearn")
    if found is None or found.origin is None:
        raise UserError(f"data.source: brain comes inside nilearn: {tools.missing(EXTRA)}")
    return Path(found.origin).parent / "datasets" / "data"
