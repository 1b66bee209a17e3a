"""A bundle's golden samples: what its models must answer, asked again wherever they shall run."""
from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from etils import epy
from pydantic import BaseModel

from export.delivery import publish
from export.delivery.manifest import Manifest, Model
from export.predictors import IMAGE, LOGITS, open_predictor
from export.tflite import signatures

with epy.lazy_imports():
    import numpy as np
    import PIL.Image

#: Float models may be off by this share of the largest logit: other processors add in another order.
FLOAT = 1e-4
#: Integer models may be off by so many steps of their output's scale: other kernels round half-way values otherwise.
STEPS = 3
#: Models that compute in half precision, or quantize while they run, may be off by this share of the largest logit.
COARSE = 0.05


class Checked(BaseModel):
    """A model's answers to the golden samples against those that were recorded when it was verified.

    Args:
        worst: the largest difference of a logit.
        allowed: how large it may be.
        same: samples with the recorded best class.
    """

    name: str
    samples: int
    same: int
    worst: float
    allowed: float

    @property
    def passed(self) -> bool:
        return self.same == self.samples and self.worst <= self.allowed

    def __str__(self) -> str:
        return (f"{self.name:<20} {self.same} of {self.samples} samples have the recorded best class; logits off by at most "
                f"{self.worst:.1e} of {self.allowed:.1e}  {'✓' if self.passed else '✗'}")


class Samples(BaseModel):
    """The golden samples of a bundle.

    Args:
        files: pictures.
        expected: model's name to the logits of each sample.
    """

    files: list[Path]
    expected: dict[str, list[list[float]]]

    def images(self) -> np.ndarray:
        """Raw pixels, uint8 (samples, height, width, channels)."""
        opened = [np.asarray(PIL.Image.open(file)) for file in self.files]
        return np.stack([one[..., None] if one.ndim == 2 else one for one in opened])


def read(bundle: Path) -> tuple[Manifest, Samples]:
    """A bundle's manifest, every file checked, and its samples. Raises ValueError."""
    listed = publish.check(bundle, signed=None)
    known = json.loads((bundle / "samples" / "expected.json").read_bytes())
    names = list(known[0]["expected"]) if known else []
    return listed, Samples(files=[bundle / "samples" / one["file"] for one in known],
                           expected={name: [one["expected"][name]["logits"] for one in known] for name in names})


def compare(name: str, answers: np.ndarray, expected: Sequence[Sequence[float]], allowed: float) -> Checked:
    """Holds logits (samples, classes) against the recorded ones."""
    wanted = np.asarray(expected, np.float64)
    return Checked(name=name, samples=len(wanted), same=int((answers.argmax(1) == wanted.argmax(1)).sum()),
                   worst=float(np.abs(answers - wanted).max()), allowed=allowed)


def allowance(path: Path, expected: Sequence[Sequence[float]]) -> float:
    """How far a model's logits may be from the recorded ones on another machine."""
    largest = float(np.abs(np.asarray(expected)).max())
    if path.suffix == ".tflite":
        found = signatures.of(path.read_bytes())
        if found.output.scale:
            return STEPS * found.output.scale
        return FLOAT * largest if path.stem == "float32" else COARSE * largest
    return FLOAT * largest if "float32" in path.name or path.is_dir() else COARSE * largest


def check_here(bundle: Path) -> list[Checked]:
    """Asks every model of a bundle that runs on this machine. Raises ValueError where the bundle is not whole."""
    listed, samples = read(bundle)
    images = samples.images()
    return [compare(one.name, open_predictor(bundle / one.path).predict({IMAGE: images})[LOGITS], samples.expected[one.name],
                    allowance(bundle / one.path, samples.expected[one.name])) for one in listed.models if one.name in samples.expected]


def check_with(bundle: Path, ask: Callable[[Sequence[Path], np.ndarray], dict[str, np.ndarray]],
               fit: Callable[[Model], bool] = lambda model: True) -> list[Checked]:
    """Asks the TFLite files of a bundle elsewhere.

    Args:
        ask: from files and images to logits by file stem.
        fit: which models to ask.
    """
    listed, samples = read(bundle)
    chosen = [one for one in listed.models if one.target == "litert" and one.name in samples.expected and fit(one)]
    answers = ask([bundle / one.path for one in chosen], samples.images())
    return [compare(one.name, answers[Path(one.path).stem], samples.expected[one.name],
                    allowance(bundle / one.path, samples.expected[one.name])) for one in chosen]
