"""Faces turned upright: pictures in which their key points lie where a model of embeddings has learnt them."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from etils import epy
from pydantic import Field

with epy.lazy_imports():
    import numpy as np
    import PIL.Image

Share = Annotated[float, Field(ge=-1, le=2)]
#: Where key points lie in an aligned picture, by name: y and x as shares of its height and width.
Places: TypeAlias = dict[str, tuple[Share, Share]]
#: The places of the ArcFace paper's code, of 112 x 112 pixels, its two corners of the mouth as their middle (Deng et
#: al. 2019): y and x from the middle of the first pixel on.
ARCFACE_PIXELS = {"right_eye": (51.6963, 38.2946), "left_eye": (51.5014, 73.5318), "nose_tip": (71.7366, 56.0252),
                  "mouth": (92.28475, 56.13965)}
ARCFACE: Places = {name: ((y + 0.5) / 112, (x + 0.5) / 112) for name, (y, x) in ARCFACE_PIXELS.items()}
Aligned: TypeAlias = Literal["arcface"] | Annotated[Places, Field(min_length=2)]


def places_of(aligned: Aligned | None) -> Places:
    """Return the places that a setting stands for; none where pictures are not aligned."""
    return dict(ARCFACE) if aligned == "arcface" else dict(aligned or {})


def similarity(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the rotation, scale and shift that bring points nearest to places, by least squares (Umeyama, 1991,
    without mirroring): a matrix (2, 3) that takes (x, y, 1).

    Args:
        points, places: (points, 2), y and x in pixels; two of the points at least are apart.
    """
    given, wanted = (rows[:, 1] + 1j * rows[:, 0] for rows in (points.astype(float), places.astype(float)))
    from_middle = given - given.mean()
    factor = (np.conj(from_middle) @ (wanted - wanted.mean())) / max((np.abs(from_middle)**2).sum(), 1e-12)
    shift = wanted.mean() - factor * given.mean()
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def aligned(image: np.ndarray, points: Mapping[str, tuple[float, float]], places: Places,
            size: tuple[int, int]) -> np.ndarray:
    """Return the face of an image turned upright, uint8 (height, width, channels); black where the image ends.

    Args:
        image: uint8 (height, width, channels).
        points: key points of the face, by name: y and x in pixels of the image.
        places: where they are to lie; two of them at least are among the points.
        size: height and width of the picture in pixels.
    """
    shared = [name for name in places if name in points]
    matrix = similarity(np.array([points[name] for name in shared]), np.array([places[name] for name in shared]) * size)
    smaller = max(1, int(1 / max(np.hypot(*matrix[:, 0]), 1e-6)))  # pixels of the image in one of the picture
    smaller = min(smaller, *image.shape[:2])
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2] / smaller
    channels = [PIL.Image.fromarray(image[..., channel]).reduce(smaller).transform(
        size[::-1], PIL.Image.Transform.AFFINE, back.ravel().tolist(), PIL.Image.Resampling.BILINEAR)
        for channel in range(image.shape[-1])]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)
