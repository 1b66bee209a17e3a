"""A bundle's golden samples: what its models must answer, asked again wherever they shall run."""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from etils import epy
from pydantic import BaseModel

from export.delivery import publish, samples
from export.delivery.manifest import Manifest, Model
from export.delivery.paired import paired
from export.delivery.samples import Samples
from export.measure.compare import compare
from export.predictors import open_predictor, two_files
from export.signature import Arrays, Tensor
from export.tensors import described
from export.tflite import signatures

with epy.lazy_imports():
    import numpy as np

#: The target whose models take what a server is sent.
SAVED_MODEL = "saved_model"
#: Float models may be off by this share of the largest value: other processors add in another order.
FLOAT = 1e-4
#: Integer models may be off by so many steps of their output's scale: other kernels round half-way values otherwise.
STEPS = 3
#: Models that compute in half precision, or quantize while they run, may be off by this share of the largest value.
COARSE = 0.05
#: A sample counts as the same where this share of it agrees: of the positions of a dense output, a few may flip.
AGREES = 0.99
#: What stands in the place of 0 as a divisor.
TINY = 1e-30


class Checked(BaseModel):
    """A model's answers to the golden samples against those that were recorded when it was verified.

    Args:
        samples: how many.
        same: samples that agree: with the recorded best class, for logits.
        worst: the largest difference of a number, of the output that is furthest from what is allowed.
        allowed: how large it may be.
        output: which output that is.
    """

    name: str
    samples: int
    same: int
    worst: float
    allowed: float
    output: str = "logits"

    @property
    def passed(self) -> bool:
        return self.same == self.samples and self.worst <= self.allowed

    def __str__(self) -> str:
        agree = "have the recorded best class" if self.output == "logits" else "agree with what was recorded"
        return (f"{self.name:<20} {self.same} of {self.samples} samples {agree}; {self.output} off by at most "
                f"{self.worst:.1e} of {self.allowed:.1e}  {'✓' if self.passed else '✗'}")


def read(bundle: Path) -> tuple[Manifest, Samples]:
    """Return a bundle's manifest, every file checked, and its samples. Raises ValueError."""
    return publish.check(bundle, signed=None), samples.read(bundle / samples.FOLDER)


def checked(name: str, outputs: Arrays, expected: Arrays, allowed: Mapping[str, float],
            rows: Mapping[str, Sequence[int]] = MappingProxyType({})) -> Checked:
    """Return how a model's answers differ from the recorded ones.

    Args:
        outputs, expected: by name, (samples, ...). An output that is alone goes by any name; boxes may come in another
            order.
        allowed: output name to how far its numbers may be off.
        rows: output name to the rows that are expected, where these are not all.
    """
    if len(outputs) == 1 and len(expected) == 1:
        outputs = dict(zip(expected, outputs.values(), strict=True))
    outputs = paired(outputs, expected)
    count = len(next(iter(expected.values())))
    worst = dict.fromkeys(expected, 0.0)
    same = 0
    for number in range(count):
        recorded = {output: values[number:number + 1] for output, values in expected.items()}
        try:
            answers = {output: outputs[output][number:number + 1] for output in expected}
            answers |= {output: answers[output][:, list(kept)] for output, kept in rows.items() if output in answers}
            result = compare(answers, recorded,
                             [_tensor(output, values, allowed[output]) for output, values in recorded.items()])
        except (KeyError, ValueError, IndexError):  # it is missing, of another shape, or holds what is not a number
            worst = dict.fromkeys(expected, math.inf)
            continue
        worst = {output: max(worst[output], difference.max) for output, difference in result.items()}
        same += all(difference.agreement >= AGREES for difference in result.values())
    furthest = max(expected, key=lambda output: worst[output] / max(allowed[output], TINY))
    return Checked(name=name, samples=count, same=same, worst=worst[furthest], allowed=allowed[furthest],
                   output=furthest)


def allowance(path: Path, expected: Arrays) -> dict[str, float]:
    """Return how far a model's outputs may be from the recorded ones, by name, on another machine."""
    both = two_files.files(path)
    path = both.network if both is not None else path
    tflite = signatures.main(path.read_bytes()) if path.suffix == ".tflite" else None
    exact = path.stem == "float32" if tflite is not None else "float32" in path.name or path.is_dir()
    allowed = {}
    for output, values in expected.items():
        scale = 0.0
        if tflite is not None and (output in tflite.outputs or len(tflite.outputs) == 1):
            scale = (tflite.outputs.get(output) or tflite.output).scale
        allowed[output] = STEPS * scale if scale else (FLOAT if exact else COARSE) * _largest(values)
    return allowed


def check_here(bundle: Path) -> list[Checked]:
    """Ask every model of a bundle that runs on this machine. Raises ValueError where the bundle is not whole."""
    listed, recorded = read(bundle)
    asked = [model for model in listed.models if model.name in recorded.expected]
    predictors = (open_predictor(bundle / model.path) for model in asked)
    return [_checked(bundle, model, predictor.predict(_given(model, recorded)), recorded)
            for model, predictor in zip(asked, predictors, strict=True)]


def _given(model: Model, recorded: Samples) -> Arrays:
    """Return the inputs as a model takes them: a SavedModel as a server does."""
    return recorded.sent if model.target == SAVED_MODEL else recorded.inputs


def check_with(bundle: Path, ask: Callable[[Sequence[Path], Arrays], Mapping[str, Arrays]],
               fit: Callable[[Model], bool] = lambda model: True) -> list[Checked]:
    """Ask the TFLite files of a bundle elsewhere. Raises ValueError where the bundle is not whole.

    Args:
        ask: from files and inputs to outputs, by file stem.
        fit: which models to ask.
    """
    listed, recorded = read(bundle)
    asked = [model for model in listed.models
             if model.target == "litert" and model.path.endswith(".tflite") and model.name in recorded.expected
             and fit(model)]
    answers = ask([bundle / model.path for model in asked], recorded.inputs)
    return [_checked(bundle, model, answers[Path(model.path).stem], recorded) for model in asked]


def _checked(bundle: Path, model: Model, outputs: Arrays, recorded: Samples) -> Checked:
    expected = recorded.expected[model.name]
    return checked(model.name, outputs, expected, allowance(bundle / model.path, expected), recorded.rows)


def _tensor(name: str, values: np.ndarray, allowed: float) -> Tensor:
    """Return what an output is, as far as its name tells, with a tolerance that comes to what is allowed."""
    tensor = described(name, values.dtype.name, values.shape, output=True)
    return tensor.model_copy(update={"tolerance": allowed / max(_largest(values), TINY)})


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0)) if values.dtype.kind in "fiu" else 0.0
