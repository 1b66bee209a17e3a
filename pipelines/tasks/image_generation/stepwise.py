"""Models that make pictures step by step: diffusion."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from export.keras_models import graph
from export.signature import DEFAULT, Arrays, Function, Signature, Tensor
from models.ddpm import DENOISED, STEP
from pipelines.tasks.evaluation import Evaluation
from pipelines.tasks.image_generation.diffusion import DiffusionSection
from pipelines.tasks.image_generation.making import IMAGE, NOISE, predicted, served
from pipelines.tasks.image_generation.measure import CONDITION, GENERATED

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from export.predictors import Predictor
    from pipelines.ingest.data import Data
    from pipelines.ingest.index import Index


class Stepwise:
    """A network says what to take away of noise; the sampler is outside.

    Args:
        section: how.
        steps: that the model knows.
    """

    def __init__(self, section: DiffusionSection, steps: int):
        self.section = section
        self.steps = steps

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return (Tensor(name=DENOISED, dtype="float32", shape=index.inputs[IMAGE].shape,
                       meaning=f"the {self.section.target} of a noisy image, -1 to 1"),)

    def signature(self, index: Index) -> Signature:
        asked = tuple(tensor for name, tensor in index.inputs.items() if name != IMAGE)
        return Signature(inputs=asked, outputs=self.outputs(index))

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        said = {DENOISED: predicted(predictor, inputs)[DENOISED]} if STEP in inputs else {}
        pictures = served(predictor, inputs)
        if pictures is None:
            pictures = self.section.made(predictor, inputs[NOISE], inputs.get(CONDITION), self.steps)
        return {**said, GENERATED: pictures}

    def functions(self, model: Any, data: Data) -> list[Function]:
        return [graph.function(model, self.signature(data.index))]

    def in_graph(self, model: Any, data: Data) -> Callable[[Mapping[str, Any]], Any]:
        step = graph.function(model, self.signature(data.index))
        return lambda inputs: self.section.in_graph(step.call, inputs, self.steps)

    def calibration(self, inputs: Arrays, load: Callable[[], Any]) -> list[tuple[str, Arrays]]:
        """Return training images at steps of their drowning."""
        noisy = self.section.noisy(inputs[IMAGE], inputs[NOISE], inputs[STEP], self.steps)
        return [(DEFAULT, {**{name: values for name, values in inputs.items() if name != IMAGE}, NOISE: noisy})]

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        return evaluation
