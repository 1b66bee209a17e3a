"""Small faces, and what is none, that come inside the scikit-image package."""
from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from etils import epy
from pydantic import Field as Setting

from export.targets import tools
from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Part, select
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

EXTRA = "faces"
#: The file, in it the faces come first; and how wide and high they are.
FILE, FACES, SIDE = "lfw_subset.npy", 100, 25
#: How far a distorted picture may differ from its photo: degrees, shares of the size and of the side, factors of
#: brightness and contrast, light from one side, deviations of a blur in pixels and of noise in grey values.
DEGREES, ZOOM, SHIFT, LIGHT, CONTRAST, SLOPE, BLUR, NOISE = 12.0, 0.12, 0.08, 0.3, 0.35, 0.35, 0.7, 8.0


class LfwSubset(Source):
    """What the two sources of this file have in common."""

    def fingerprint(self) -> str:
        if missing := tools.missing(EXTRA):
            raise UserError(f"data.source: {self.entry_name} comes inside scikit-image: {missing}")
        return f"{self.written()} scikit-image {importlib.metadata.version('scikit-image')}"

    def parts(self) -> list[Part]:
        return ["train"]

    def pictures(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Return pixels, uint8 (pictures, 25, 25, 1), classes (pictures,), and what each picture is called."""
        raise NotImplementedError

    def size(self, part: Part) -> int | None:
        return len(self.pictures()[1])

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the pictures as PNG, identity by identity; an example's id is person 7 #3 and so on."""
        pixels, labels, names = self.pictures()
        examples = tf.data.Dataset.from_tensor_slices({"image": pixels, "label": labels, "id": names})
        return select(examples, positions).map(
            lambda example: {**example, "image": tf.io.encode_png(example["image"])})


class DistortedFaces(LfwSubset, name="distorted_faces"):
    """100 faces, each in several distortions of one photo of 25 x 25 grey pixels; comes inside scikit-image.

    The photos were drawn out of Labeled Faces in the Wild (Huang et al., 2007), without names: each is taken for a
    person of its own, which may be wrong for a few. Two pictures of a person are the same photo, turned, shifted,
    enlarged, lit, blurred and made noisy by a seed each: what holds for them says that a system works, and little of
    how it would do on two photos of a person.

    Args:
        pictures_each: pictures of a person.
    """

    pictures_each: int = Setting(16, ge=2, le=1000)

    def fields(self) -> dict[str, Field]:
        names = [f"person {number}" for number in range(FACES)]
        return {"image": Field(kind="bytes", shape=(SIDE, SIDE, 1)), "label": Field(kind="class", names=names)}

    def size(self, part: Part) -> int | None:
        return FACES * self.pictures_each

    def pictures(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        return _distorted(self.pictures_each)


class FaceOrNot(LfwSubset, name="face_or_not"):
    """100 faces and 100 other cut-outs of photographs, 25 x 25 grey pixels; comes inside scikit-image.

    The faces are of Labeled Faces in the Wild (Huang et al., 2007); the others are cut out of its backgrounds.
    """

    def fields(self) -> dict[str, Field]:
        return {"image": Field(kind="bytes", shape=(SIDE, SIDE, 1)),
                "label": Field(kind="class", names=["face", "no face"])}

    def pictures(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        pixels = photos()
        labels = (np.arange(len(pixels)) >= FACES).astype("int64")
        return pixels[..., None], labels, [f"picture {number}" for number in range(len(pixels))]


@functools.cache
def photos() -> np.ndarray:
    """Return all pictures as grey values, uint8 (200, 25, 25), the faces first."""
    package = importlib.util.find_spec("skimage")
    assert package is not None and package.origin is not None
    return np.round(np.load(Path(package.origin).parent / "data" / FILE) * 255).astype("uint8")


@functools.lru_cache(maxsize=2)
def _distorted(each: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    faces = photos()[:FACES]
    pictures = [distorted(face, np.random.default_rng([person, number]))
                for person, face in enumerate(faces) for number in range(each)]
    names = [f"person {person} #{number}" for person in range(FACES) for number in range(each)]
    return np.stack(pictures)[..., None], np.repeat(np.arange(FACES), each), names


def distorted(face: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a photo turned, enlarged, shifted, lit, blurred and made noisy, uint8 of its shape."""
    from scipy import ndimage

    def drawn(most: float, count: int | None = None) -> np.ndarray:
        return generator.uniform(-most, most, count)

    angle, scale = np.deg2rad(drawn(DEGREES)), 1.0 + drawn(ZOOM)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    centre = (np.array(face.shape) - 1) / 2
    offset = centre - matrix @ (centre + drawn(SHIFT, 2) * face.shape[0])
    moved = ndimage.affine_transform(face.astype(float), matrix, offset, order=1, mode="nearest")
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, side) for side in face.shape), indexing="ij")
    direction = drawn(SLOPE, 2)
    light = (1.0 + drawn(LIGHT)) * (1.0 + direction[0] * rows + direction[1] * columns)
    lit = (moved.mean() + (moved - moved.mean()) * (1.0 + drawn(CONTRAST))) * light
    blurred = ndimage.gaussian_filter(lit, generator.uniform(0, BLUR))
    noisy = blurred + generator.normal(0, generator.uniform(0, NOISE), face.shape)
    return np.clip(np.round(noisy), 0, 255).astype("uint8")
