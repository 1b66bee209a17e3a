"""How far the boundaries of what was answered are from those of what is true, class by class."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from etils import epy

from pipelines.features.mask import VOID
from pipelines.tasks.evaluation import Metric

with epy.lazy_imports():
    import numpy as np
    from scipy import ndimage

METRICS = (Metric(name="hausdorff_95", label="Hausdorff 95", better="lower"),
           Metric(name="surface_distance", label="surface distance", better="lower"),
           Metric(name="boundary_f1", label="boundary F1"))
PERCENTILE = 95
#: How far apart boundaries may be that count as the same, as a share of the image's diagonal (Csurka et al. 2013).
TOLERANCE = 0.0075


class Distances(NamedTuple):
    """What lies between two surfaces, in the unit of their spacing.

    Args:
        hausdorff_95: the 95th percentile of the distances from either surface to the other, the larger of the two
            (Huttenlocher et al. 1993, without what is far off by accident).
        surface_distance: the mean of the distances from both surfaces to the other (Heimann et al. 2009).
        boundary_f1: the harmonic mean of the shares of both that are within a tolerance of the other (Csurka et al.
            2013).
    """

    hausdorff_95: float
    surface_distance: float
    boundary_f1: float


class Surfaces:
    """Averages the distances of all images in which a class occurs; three numbers a class, whatever the size of the
    test set.

    An image in which a class is either true or answered, and not both, counts as the worst there is: distances of the
    image's diagonal, as in the BraTS challenge, and an F1 of 0.

    Args:
        classes: how many.
        spacing: height and width of a pixel of these masks, which may have been resized.
        tolerance: of boundary F1, in the same unit; 0.75 % of the image's diagonal where not given.
    """

    def __init__(self, classes: int, spacing: tuple[float, float] = (1.0, 1.0), tolerance: float | None = None):
        self.spacing = spacing
        self.tolerance = tolerance
        self.sums = np.zeros((classes, len(METRICS)))
        self.images = np.zeros(classes, np.int64)

    def add(self, truth: np.ndarray, answers: np.ndarray) -> None:
        """Take a batch of classes, (batch, height, width); pixels whose truth is 255 are of no class in both."""
        for true, answer in zip(truth, np.where(truth == VOID, VOID, answers), strict=True):
            diagonal = float(np.hypot(*(np.array(true.shape) * self.spacing)))
            tolerance = TOLERANCE * diagonal if self.tolerance is None else self.tolerance
            for number in range(len(self.images)):
                one, other = true == number, answer == number
                if one.any() or other.any():
                    self.images[number] += 1
                    self.sums[number] += between(one, other, self.spacing, tolerance) or (diagonal, diagonal, 0.0)

    def by_class(self) -> np.ndarray:
        """Return the mean of each distance over the images of each class, (classes, 3); NaN where it is in none."""
        counts = self.images[:, None].astype(float)
        return np.divide(self.sums, counts, out=np.full(self.sums.shape, np.nan), where=counts > 0)

    def metrics(self) -> dict[str, float]:
        """Return the means over the classes that occur."""
        occurs = self.images > 0
        means = self.by_class()[occurs].mean(axis=0) if occurs.any() else np.zeros(len(METRICS))
        return {metric.name: float(value) for metric, value in zip(METRICS, means, strict=True)}


def between(one: np.ndarray, other: np.ndarray, spacing: Sequence[float], tolerance: float) -> Distances | None:
    """Return what lies between the surfaces of two areas; None where one of them is empty.

    A surface is the pixels of an area that have a neighbour, of four, outside it or beyond the image.

    Args:
        one, other: bool (height, width).
        spacing: height and width of a pixel.
        tolerance: of boundary F1.
    """
    if not one.any() or not other.any():
        return None
    rows, columns = (np.flatnonzero((one | other).any(axis=axis)) for axis in (1, 0))
    part = np.s_[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]  # nothing outside it is nearer than what is inside
    first, second = (area & ~ndimage.binary_erosion(area) for area in (one[part], other[part]))
    there = ndimage.distance_transform_edt(~second, sampling=spacing)[first]
    back = ndimage.distance_transform_edt(~first, sampling=spacing)[second]
    near = [float((distances <= tolerance).mean()) for distances in (there, back)]
    return Distances(
        hausdorff_95=float(max(np.percentile(there, PERCENTILE), np.percentile(back, PERCENTILE))),
        surface_distance=float((there.sum() + back.sum()) / (there.size + back.size)),
        boundary_f1=2 * near[0] * near[1] / sum(near) if sum(near) else 0.0)
