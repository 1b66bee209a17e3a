"""Scenes for face detection: small real faces set into real photographs."""
from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Sequence

from etils import epy

from export.targets import tools
from pipelines.errors import UserError
from pipelines.features.boxes import COLUMNS, GIVEN_POINT
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.lfw_subset import FACES, SIDE, photos
from pipelines.ingest.sources.photographs import background, covered, photograph
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf
    from scipy import ndimage

#: Changes with the scenes that the code draws.
VERSION = 1
#: Height and width of a scene, and of a face's picture before it is turned, in pixels.
SIZE, SMALLEST, LARGEST = 128, 20.0, 72.0
#: Faces, and cut-outs without one, in a scene, at most.
MOST, OTHERS = 3, 2
#: How far a face is turned, in degrees; how far its brightness and its contrast are from the photo's, as shares.
DEGREES, LIGHT, CONTRAST = 25.0, 0.25, 0.3
#: How far red, green and blue of a scene are from grey, as shares; deviation of its noise in grey values, at most.
TINT, NOISE = 0.15, 6.0
#: Things may cover so much of each other: the intersection over the smaller box.
OVERLAP, TRIES = 0.1, 30
#: The ellipse that a face fills of its picture, x and y in its pixels: the middle and half the sides; it fades from so
#: much of that on.
MIDDLE, HALF, FADES = (10.9, 12.4), (9.3, 11.2), 0.85
#: Where key points lie in the mean of all 100 faces, y and x in the picture's pixels: in one face they are a pixel or
#: two elsewhere. The pictures are of 25 x 25 pixels, cut out alike, the eyes level. In
#: MediaPipe's order.
POINTS = {"right_eye": (8.7, 6.2), "left_eye": (8.6, 15.0), "nose_tip": (13.5, 10.7), "mouth": (17.6, 10.7),
          "right_ear": (10.5, 2.2), "left_ear": (10.5, 19.9)}


@dataclasses.dataclass(frozen=True)
class Scenes:
    """How the scenes of a part are made.

    Args:
        count: of scenes.
        photographs: see `photographs.photograph`; those of one part are in no other, and show no face.
        people: whose faces are set in, and which cut-outs without a face: the first and the one behind the last.
        seed: of all that is drawn.
    """

    count: int
    photographs: Sequence[str]
    people: tuple[int, int]
    seed: int


PARTS: dict[Part, Scenes] = {
    "train": Scenes(3000, ["sklearn china.jpg", "skimage coffee.png", "skimage motorcycle_left.png",
                           "skimage hubble_deep_field.jpg", "skimage brick.png", "skimage grass.png",
                           "skimage retina.jpg", "skimage coins.png", "skimage ihc.png"], (0, 70), 1),
    "validation": Scenes(200, ["skimage rocket.jpg"], (70, 80), 2),
    "test": Scenes(400, ["sklearn flower.jpg", "skimage chelsea.png", "skimage gravel.png"], (80, FACES), 3)}


class FacesInScenes(Source, name="faces_in_scenes"):
    """Up to three small real faces, and up to two cut-outs without one, in real photographs of 128 x 128 pixels, with
    boxes and six key points; drawn by fixed seeds.

    The faces are the 100 of 25 x 25 grey pixels inside scikit-image, out of Labeled Faces in the Wild (Huang et al.,
    2007), turned, enlarged and lit otherwise; the photographs are of scikit-learn and scikit-image, in grey. No face
    and no photograph is in two parts. Key points are where they lie in the mean face, a pixel or two of 25 from where
    they are in this one.
    """

    def fingerprint(self) -> str:
        if missing := tools.missing("faces"):
            raise UserError(f"data.source: faces_in_scenes is made of what comes inside scikit-image: {missing}")
        packages = ("scikit-learn", "scikit-image")
        return " ".join(["faces_in_scenes", str(VERSION),
                         *(f"{one} {importlib.metadata.version(one)}" for one in packages)])

    def fields(self) -> dict[str, Field]:
        return {"image": Field(kind="bytes", shape=(SIZE, SIZE, 3)),
                "boxes": Field(kind="boxes", names=["face"], points=list(POINTS))}

    def parts(self) -> list[Part]:
        return list(PARTS)

    def size(self, part: Part) -> int | None:
        return PARTS[part].count

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the scenes of a part, images as PNG; an example's id is "test scene 7" and so on."""
        chosen = range(PARTS[part].count) if positions is None else positions
        images, found = scenes(part)
        counts = np.array([len(found[one]) for one in chosen], "int64")
        width = COLUMNS + GIVEN_POINT * len(POINTS)
        rows = tf.constant(np.concatenate([np.zeros((0, width), "float32"), *(found[one] for one in chosen)]))
        listed = tf.data.Dataset.from_tensor_slices({
            "image": images[list(chosen)], "start": np.cumsum(counts) - counts, "count": counts,
            "id": tf.constant([f"{part} scene {one}" for one in chosen], tf.string)})

        def example(one: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            boxes = tf.ensure_shape(rows[one["start"]:one["start"] + one["count"]], [None, width])
            return {"image": tf.io.encode_png(one["image"]), "boxes": boxes, "id": one["id"]}

        return listed.map(example, num_parallel_calls=tf.data.AUTOTUNE)


@functools.lru_cache(maxsize=3)
def scenes(part: Part) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the scenes of a part, uint8 (scenes, 128, 128, 3), and the boxes with key points in each, float32 (boxes,
    24), see `features.boxes`."""
    made, (first, end) = PARTS[part], PARTS[part].people
    photographs = [photograph(name).mean(axis=-1, keepdims=True).round().astype("uint8").repeat(3, axis=-1)
                   for name in made.photographs]
    faces, others = photos()[first:end].astype("float32"), photos()[FACES + first:FACES + end].astype("float32")
    generator = np.random.default_rng(made.seed)
    images, found = [], []
    for _ in range(made.count):
        scene = background(photographs[generator.integers(len(photographs))], SIZE, generator)[..., 0]
        taken: list[np.ndarray] = []
        rows = []
        for _ in range(generator.integers(0, MOST + 1)):
            row = _set_into(scene, faces[generator.integers(len(faces))], taken, generator)
            if row is not None:
                rows.append(row)
        for _ in range(generator.integers(0, OTHERS + 1)):
            other = others[generator.integers(len(others))]
            if generator.random() < 0.5:
                other = background(photographs[generator.integers(len(photographs))], SIDE, generator)[..., 0]
            _set_into(scene, other, taken, generator)
        coloured = scene[..., None] * (1 + generator.uniform(-TINT, TINT, 3))
        noisy = coloured + generator.normal(0, generator.uniform(0, NOISE), coloured.shape)
        images.append(np.clip(noisy.round(), 0, 255).astype("uint8"))
        found.append(np.array(rows, "float32").reshape(-1, COLUMNS + GIVEN_POINT * len(POINTS)))
    return np.stack(images), found


def _set_into(scene: np.ndarray, picture: np.ndarray, taken: list[np.ndarray],
              generator: np.random.Generator) -> np.ndarray | None:
    """Set the middle of a picture into a scene; return its row of `features.boxes`, or None where no place was found.

    Args:
        scene: (128, 128), is changed.
        picture: (25, 25).
        taken: boxes in pixels of what is there already; the new one is added.
    """
    scale = np.exp(generator.uniform(np.log(SMALLEST), np.log(LARGEST))) / SIDE
    angle = np.deg2rad(generator.uniform(-DEGREES, DEGREES))
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # of y and x
    half = scale * np.array([np.hypot(HALF[1] * np.cos(angle), HALF[0] * np.sin(angle)),
                             np.hypot(HALF[0] * np.cos(angle), HALF[1] * np.sin(angle))])
    for _ in range(TRIES):
        centre = generator.uniform(half, SIZE - half)
        box = np.concatenate([centre - half, centre + half])
        if covered(box, taken) <= OVERLAP:
            break
    else:
        return None
    taken.append(box)
    middle = np.array(MIDDLE[::-1])
    back = np.linalg.inv(turn)
    # pixels are places half a pixel from their edges, in the scene and in the picture
    first, end = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
    window = scene[first[0]:end[0], first[1]:end[1]]
    offset = middle - 0.5 - back @ (centre - 0.5 - first)
    moved = ndimage.affine_transform(picture, back, offset, output_shape=window.shape, order=1, mode="nearest")
    places = np.stack(np.meshgrid(*(np.arange(*ends) + 0.5 for ends in zip(first, end, strict=True)), indexing="ij"),
                      axis=-1)
    from_middle = (places - centre) @ back.T / np.array(HALF[::-1])
    share = np.clip((1 - np.linalg.norm(from_middle, axis=-1)) / (1 - FADES), 0, 1)
    mean = picture.mean()
    lit = (mean + (moved - mean) * (1 + generator.uniform(-CONTRAST, CONTRAST))) * (
        1 + generator.uniform(-LIGHT, LIGHT))
    window[:] = window * (1 - share) + np.clip(lit, 0, 255) * share
    points = centre + (np.array(list(POINTS.values())) - middle) @ turn.T
    marked = np.column_stack([points / SIZE, np.ones(len(points))])
    return np.concatenate([box / SIZE, [0.0, 0.0], marked.ravel()])
