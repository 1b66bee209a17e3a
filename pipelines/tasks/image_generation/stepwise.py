"""Models that make pictures step by step: diffusion."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from export.keras_models import graph
from export.signature import DEFAULT, Arrays, Function, Signature, Tensor
from models.ddpm import DENOISED, STEP
from models.latent_diffusion import TOKENS
from pipelines.tasks.evaluation import Evaluation
from pipelines.tasks.image_generation import revising
from pipelines.tasks.image_generation.diffusion import GUIDANCE, STEPS, DiffusionSection
from pipelines.tasks.image_generation.making import GENERATE, IMAGE, NOISE, predicted, served
from pipelines.tasks.image_generation.measure import CONDITION, GENERATED

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

    from export.writing import diffusion

if TYPE_CHECKING:
    from export.predictors import Predictor
    from pipelines.ingest.data import Data
    from pipelines.ingest.index import Index


class Stepwise:
    """A network says what to take away of noise; the sampler is outside.

    Args:
        section: how.
        steps: that the model knows.
        is_whole: whether a server that makes pictures by itself is asked for them; it does so by the recipe's settings.
    """

    def __init__(self, section: DiffusionSection, steps: int, is_whole: bool = True):
        self.section = section
        self.steps = steps
        self.is_whole = is_whole

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return (Tensor(name=DENOISED, dtype="float32", shape=index.inputs[IMAGE].shape,
                       meaning=f"the {self.section.target} of a noisy image, -1 to 1"),)

    def signature(self, index: Index) -> Signature:
        asked = tuple(tensor for name, tensor in index.inputs.items() if name != IMAGE)
        return Signature(inputs=asked, outputs=self.outputs(index))

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        if list(predictor.signatures) == [GENERATE]:
            return {GENERATED: self._looped(predictor, inputs)}
        said = {DENOISED: predicted(predictor, inputs)[DENOISED]} if STEP in inputs else {}
        original = revising.original(inputs)
        pictures = served(predictor, inputs) if self.is_whole and original is None else None
        if pictures is None:
            pictures = self.section.made(predictor, inputs[NOISE], inputs.get(CONDITION), self.steps, original)
        return {**said, GENERATED: pictures}

    def _looped(self, predictor: Predictor, inputs: Arrays) -> np.ndarray:
        """Return the pictures of a file that makes whole ones. Raises ValueError where other settings are asked for."""
        if not self.is_whole or revising.original(inputs) is not None:
            raise ValueError("its steps and its guidance are in the file, and it makes pictures of noise alone; leave "
                             "--steps, --guidance and --image out, or take a file that is asked step by step, for "
                             "instance float32")
        pictures = served(predictor, inputs)
        assert pictures is not None
        return pictures

    def functions(self, model: Any, data: Data) -> list[Function]:
        return [graph.function(model, self.signature(data.index))]

    def in_graph(self, model: Any, data: Data) -> Callable[[Mapping[str, Any]], Any]:
        step = graph.function(model, self.signature(data.index))

        return lambda inputs: self.section.in_graph(step.call, self._settled(inputs), self.steps)

    def _settled(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a server is asked, with the recipe's settings for those that are left to it."""
        asked = dict(inputs)
        if STEPS in asked:
            tf.debugging.assert_less_equal(asked[STEPS], self.steps, f"steps is at most {self.steps}")
            asked[STEPS] = tf.where(asked[STEPS] < 1, self.section.sampled, asked[STEPS])
        if GUIDANCE in asked:
            asked[GUIDANCE] = tf.where(asked[GUIDANCE] < 0, self.section.guidance, asked[GUIDANCE])
        return asked

    def settings(self, index: Index) -> tuple[Tensor, ...]:
        steps = Tensor(name=STEPS, dtype="int32", shape=(),
                       meaning=f"that the sampler takes, 1 to {self.steps}; below 1 {self.section.sampled}")
        guidance = Tensor(name=GUIDANCE, dtype="float32", shape=(),
                          meaning=f"towards what is asked for; below 0 {self.section.guidance:g}")
        return (steps, guidance) if {CONDITION, TOKENS} & set(index.inputs) else (steps,)

    def driver(self) -> dict[str, Any] | None:
        section = self.section
        return {"kind": "diffusion", "target": section.target, "guidance": section.guidance,
                "schedule": section.schedule, "known": self.steps, "sampler": section.sampler,
                "columns": diffusion.COLUMNS, "table": section.plan(self.steps).tolist(), "most": 1.0}

    def calibration(self, inputs: Arrays, load: Callable[[], Any]) -> list[tuple[str, Arrays]]:
        """Return training images at steps of their drowning."""
        image = inputs[IMAGE].astype(np.float32) / 127.5 - 1
        noisy = self.section.noisy(image, inputs[NOISE], inputs[STEP], self.steps)
        return [(DEFAULT, {**{name: values for name, values in inputs.items() if name != IMAGE}, NOISE: noisy})]

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        return evaluation
