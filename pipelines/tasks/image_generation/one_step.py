"""Models that make pictures in one step: autoencoders and GANs."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

import models
from export.keras_models import graph
from export.signature import DEFAULT, Arrays, Function, Signature, Tensor
from models.outputs import library_of
from models.variational import LOG_VARIANCE
from pipelines.tasks.evaluation import Evaluation
from pipelines.tasks.image_generation import autoencoding
from pipelines.tasks.image_generation.making import IMAGE, NOISE, asked_of, predicted
from pipelines.tasks.image_generation.measure import GENERATED

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from export.predictors import Predictor
    from pipelines.ingest.data import Data
    from pipelines.ingest.index import Index


class OneStep:
    """Noise goes in, a picture comes out; a model with an encoder has a signature `encode` too."""

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return (Tensor(name=GENERATED, dtype="float32", shape=index.inputs[IMAGE].shape, role="image",
                       meaning="pixels 0..255, to be rounded"),)

    def signature(self, index: Index) -> Signature:
        return Signature(inputs=asked_of(index), outputs=self.outputs(index))

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        return {GENERATED: predicted(predictor, inputs)[GENERATED]}

    def functions(self, model: Any, data: Data) -> list[Function]:
        functions = [self._generator(model, data.index)]
        if autoencoding.has_encoder(model):
            functions.append(autoencoding.encode(model, data.index.inputs[IMAGE], data.index.inputs[NOISE]))
        return functions

    def in_graph(self, model: Any, data: Data) -> Callable[[Mapping[str, Any]], Any]:
        made = self._generator(model, data.index)
        return lambda inputs: made.call(**inputs)[GENERATED]

    def settings(self, index: Index) -> tuple[Tensor, ...]:
        return ()

    def driver(self) -> dict[str, Any] | None:
        return {"kind": "generator"}

    def calibration(self, inputs: Arrays, load: Callable[[], Any]) -> list[tuple[str, Arrays]]:
        """Return noise for the generator, and training images for the encoder where there is one."""
        result: list[tuple[str, Arrays]] = [(DEFAULT, {name: values for name, values in inputs.items()
                                                       if name != IMAGE})]
        if autoencoding.has_encoder(load()):
            result.append((autoencoding.ENCODE, {IMAGE: inputs[IMAGE].astype(np.float32)}))
        return result

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        outputs = {tensor.name for tensor in next(iter(predictor.signatures.values())).outputs}
        return autoencoding.completed(evaluation, predictor, data, folder) if LOG_VARIANCE in outputs else evaluation

    def _generator(self, model: Any, index: Index) -> Function:
        """Return the part of a model, of Keras 3 or tf_keras, that makes pictures."""
        signature = self.signature(index)
        library = library_of(model)
        inputs = models.named_inputs(model)
        asked = {tensor.name: inputs[tensor.name] for tensor in signature.inputs}
        part = library.Model(asked, {GENERATED: models.named_outputs(model)[GENERATED]}, name=model.name)
        return Function(signature, graph.function(part, signature).call)
