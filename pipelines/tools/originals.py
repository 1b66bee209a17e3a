"""What `litepress sample` makes pictures of beside noise: an image, and where it is to change."""
from __future__ import annotations

import dataclasses
from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.errors import UserError
from pipelines.features.image import Image
from pipelines.tasks.image_generation.revising import MASK, ORIGINAL, STRENGTH, WHITE

with epy.lazy_imports():
    import numpy as np

#: How much is to change where nothing is said: of the whole image, and where a mask says where.
SOME, ALL = 0.6, 1.0


@dataclasses.dataclass(frozen=True)
class OriginalWish:
    """What is asked for.

    Args:
        image: a file.
        mask: a file of the same size, white where the image is made anew; all of it where not given.
        strength: how much is to change, 0 to 1; 0.6 where not given, and 1 where there is a mask.
    """

    image: Path | None = None
    mask: Path | None = None
    strength: float | None = None

    def check(self) -> None:
        """Raise UserError where settings do not go together, or are out of their bounds."""
        if self.image is None:
            for option, value, what in (("--mask", self.mask, "where an image is"),
                                        ("--strength", self.strength, "how much of an image is")):
                if value is not None:
                    raise UserError(f"sample: {option} says {what} made anew, and there is none; add --image FILE, or "
                                    "leave it out")
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise UserError(f"sample: --strength is {self.strength:g}; give 0, which leaves the image as it is, to 1")

    @property
    def share(self) -> float:
        """Return how much is to change."""
        if self.strength is not None:
            return self.strength
        return SOME if self.mask is None else ALL

    def about(self) -> dict[str, object]:
        """Return what a note says of it; nothing where nothing is asked for."""
        if self.image is None:
            return {}
        mask = {} if self.mask is None else {"mask": self.mask.name}
        return {"image": self.image.name, "strength": self.share, **mask}


def read(wish: OriginalWish, feature: Image, count: int) -> tuple[Arrays, str]:
    """Return the inputs of so many pictures of an image, and a remark where its size is not the model's; no inputs
    where nothing is asked for.

    Args:
        feature: how images are read, in the model's size and channels.

    Raises:
        UserError: a file cannot be read, the mask is of another size than the image, or nothing of it is white.
    """
    if wish.image is None:
        return {}, ""
    pixels = feature.pixels(wish.image)
    height, width = pixels.shape[:2]
    inputs = {ORIGINAL: _repeated(feature.fitted(pixels), count), STRENGTH: np.full(count, wish.share, np.float32)}
    if wish.mask is not None:
        grey = feature.model_copy(update={"channels": 1})
        mask = grey.pixels(wish.mask)
        if mask.shape[:2] != (height, width):
            raise UserError(f"sample: --mask {wish.mask} is {mask.shape[0]} x {mask.shape[1]} pixels, and --image "
                            f"{wish.image} is {height} x {width}; give a mask of the image's size")
        inputs[MASK] = _repeated(grey.fitted(mask), count)
        if inputs[MASK].max() < WHITE:
            raise UserError(f"sample: --mask {wish.mask}: nothing of it is white, so nothing is made anew")
    is_fitted = (height, width) != feature.size
    sizes = f"{height} x {width} pixels to {feature.size[0]} x {feature.size[1]}"
    return inputs, f"; {wish.image} was brought from {sizes}" if is_fitted else ""


def _repeated(image: object, count: int) -> np.ndarray:
    return np.repeat(np.asarray(image)[None], count, axis=0)
