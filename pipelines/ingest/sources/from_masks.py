"""Masks of another source as images, and the images that they are of."""
from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from etils import epy
from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.sources.image_pairs import IMAGE
from pipelines.ingest.sources.made_pairs import MadePairs

with epy.lazy_imports():
    import numpy as np
    import PIL.Image
    import tensorflow as tf

MASK, WHITE = "mask", 255


class FromMasks(MadePairs, name="from_masks", shorthand="of"):
    """The masks of another source as images, and as targets the images that they are of, in pairs or not: a slice of
    a brain, for instance, out of a drawing of its tissue.

    The classes are grey levels, as far apart as they can be: black the first, white the last.

    Args:
        of: the other source, as a recipe writes it; its examples have an image and a mask.
        classes: of the masks, where the source does not say it.
        paired: false for training without pairs: training examples then have two different images each, and test
            examples, by which models are measured, are pairs all the same.
    """

    classes: int | None = Setting(None, ge=2, le=WHITE)

    def fingerprint(self) -> str:
        return f"from_masks {self.classes} {self.paired} {self.source.entry_name} {self.source.fingerprint()}"

    def needed(self) -> tuple[str, ...]:
        return IMAGE, MASK

    def fields(self) -> dict[str, Field]:
        known = self.source.fields()
        if MASK not in known or known[MASK].kind not in ("bytes", "array"):
            raise UserError(f"{self.setting}.of: {self.source.entry_name} has no masks; its examples have "
                            f"{', '.join(known)}. Give a source of images with masks, for instance brain")
        if self._count() is None:
            raise UserError(f"{self.setting}: {self.source.entry_name} does not say how many classes its masks have; "
                            "set classes")
        return super().fields()

    def pair(self, one: Mapping[str, Any]) -> tuple[Any, Any]:
        return tf.numpy_function(self._painted, [one[MASK]], tf.string, stateful=False), one[IMAGE]

    def _count(self) -> int | None:
        names = self.source.fields()[MASK].names
        return self.classes or (len(names) if names else None)

    def _painted(self, mask: Any) -> bytes:
        """Return a mask as a grey PNG; of a file that cannot be read itself, which says why."""
        if np.asarray(mask).ndim < 2:  # a file
            encoded = bytes(mask)
            try:
                with PIL.Image.open(io.BytesIO(encoded)) as image:
                    mask = np.asarray(image)
            except (OSError, SyntaxError, ValueError):
                return encoded
        levels = painted(np.asarray(mask), self._count() or 2)
        return tf.io.encode_png(levels[..., None]).numpy()  # type: ignore[no-any-return]


def painted(mask: np.ndarray, classes: int) -> np.ndarray:
    """Return a mask of classes, (height, width) or with channels of which the first counts, as grey levels, uint8
    (height, width); what is of no class is as the first."""
    numbers = mask[..., 0] if mask.ndim == 3 else mask
    known = np.where(numbers < classes, numbers, 0)
    return np.round(known * (WHITE / (classes - 1))).astype(np.uint8)
