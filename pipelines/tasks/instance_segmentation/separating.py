"""From what a network gives for each pixel to the things that the pixels belong to."""
from __future__ import annotations

from etils import epy

from pipelines.features.instances import DISTANCE, INSIDE

with epy.lazy_imports():
    import numpy as np
    import scipy.ndimage
    import scipy.special
    import skimage.segmentation


def separated(outputs: np.ndarray, *, threshold: float, seed: float, smallest: int) -> np.ndarray:
    """Return the number of the thing that each pixel belongs to, int32 (height, width); 0 is none.

    What is inside is flooded from its middles, the deepest first, and things end where two floods meet (watershed;
    Beucher and Lantuéjoul, "Use of Watersheds in Contour Detection", 1979).

    Args:
        outputs: of the network, logits (height, width, 2), see `features.instances`.
        threshold: a pixel is inside from this probability on.
        seed: the middle of a thing is what is as far inside, and connected; what has no middle is a thing all the same.
        smallest: pixels of a thing, at least.
    """
    inside = outputs[..., INSIDE] >= scipy.special.logit(threshold)
    distance = scipy.special.expit(outputs[..., DISTANCE])
    middles, count = scipy.ndimage.label(inside & (distance >= seed))
    parts, _ = scipy.ndimage.label(inside)
    with_middle = np.unique(parts[middles > 0])
    others, _ = scipy.ndimage.label(inside & ~np.isin(parts, with_middle))
    markers = np.where(others > 0, others + count, middles)
    numbers = skimage.segmentation.watershed(-distance, markers, mask=inside)
    areas = np.bincount(numbers.ravel())
    kept = np.flatnonzero(areas >= smallest)
    renumbered = np.zeros(len(areas), "int32")
    kept = kept[kept > 0]
    renumbered[kept] = np.arange(1, len(kept) + 1)
    return renumbered[numbers]
