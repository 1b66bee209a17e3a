"""Models that make a latent of noise step by step, by a text, and a picture of it: latent diffusion."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from etils import epy

from export.delivery import drawing
from export.signature import DEFAULT, Arrays, Function, Signature, Tensor
from models import latent_diffusion
from models.ddpm import DENOISED, STEP
from models.latent_diffusion import CONDITION, GENERATED, IMAGE, MEAN, MOST, NOISE, TOKENS
from pipelines.tasks.image_generation.making import predicted, said_by_part, served
from pipelines.tasks.image_generation.stepwise import Stepwise

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from export.predictors import Predictor
    from pipelines.ingest.data import Data
    from pipelines.ingest.index import Index

#: The parts of a file beside the usual signature, which is one step from tokens: the text, once for a picture; a step,
#: from that; and the picture of a latent.
ENCODE_TEXT, DENOISE, DECODE = "encode_text", "denoise", "decode"


class Latent(Stepwise):
    """A network says what to take away of a noisy latent, by a text; a decoder makes a picture of the latent."""

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return (Tensor(name=DENOISED, dtype="float32", shape=index.inputs[NOISE].shape,
                       meaning=f"the {self.section.target} of a noisy latent"),)

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        said = {DENOISED: predicted(predictor, inputs)[DENOISED]} if STEP in inputs else {}
        pictures = served(predictor, inputs) if self.is_whole else None
        return {**said, GENERATED: self.made(predictor, inputs) if pictures is None else pictures}

    def made(self, predictor: Predictor, inputs: Arrays) -> np.ndarray:
        """Return pictures, 0..255, of noise and tokens, part by part."""
        in_parts = DENOISE in predictor.signatures

        def of_text(tokens: np.ndarray) -> np.ndarray:
            return predictor.predict({TOKENS: tokens}, ENCODE_TEXT)[CONDITION] if in_parts else tokens

        def denoise(x: np.ndarray, step: int, asked: np.ndarray) -> np.ndarray:
            known = {NOISE: x, STEP: np.full(len(x), step, np.float32), CONDITION if in_parts else TOKENS: asked}
            return said_by_part(predictor, DENOISE, known)[DENOISED]

        tokens = inputs[TOKENS]
        both = of_text(tokens), of_text(np.zeros_like(tokens))
        latents = self.section.sampled_of(denoise, inputs[NOISE], both, self.steps, MOST)
        return said_by_part(predictor, DECODE, {NOISE: latents})[GENERATED]

    def functions(self, model: Any, data: Data) -> list[Function]:
        index, parts = data.index, _Calls(model)
        usual = self.signature(index)
        condition = Tensor(name=CONDITION, dtype="float32", shape=parts.shape,
                           meaning="the vectors of a text's tokens; zeros ask for nothing")
        noisy = tuple(index.inputs[name] for name in (NOISE, STEP))
        latent = index.inputs[NOISE].model_copy(update={"role": "values", "meaning": "a latent without noise"})
        picture = Tensor(name=GENERATED, dtype="float32", shape=index.inputs[IMAGE].shape, role="image",
                         meaning="pixels 0..255, to be rounded")
        return [
            Function(usual, parts.network),
            Function(Signature(name=ENCODE_TEXT, inputs=(index.inputs[TOKENS],), outputs=(condition,)), parts.text),
            Function(Signature(name=DENOISE, inputs=(*noisy, condition), outputs=usual.outputs), parts.denoise),
            Function(Signature(name=DECODE, inputs=(latent,), outputs=(picture,)), parts.decode)]

    def in_graph(self, model: Any, data: Data) -> Callable[[Mapping[str, Any]], Any]:
        parts = _Calls(model)

        def denoise(x: Any, step: Any, asked: Any) -> Any:
            return parts.denoise(**{NOISE: x, STEP: step, CONDITION: asked})[DENOISED]

        def make(inputs: Mapping[str, Any]) -> Any:
            tokens = inputs[TOKENS]
            both = [parts.text(**{TOKENS: one})[CONDITION] for one in (tokens, tf.zeros_like(tokens))]
            latents = self.section.sampled_in_graph(denoise, self._settled(inputs), (both[0], both[1]), self.steps,
                                                    MOST)
            return parts.decode(**{NOISE: latents})[GENERATED]

        return make

    def driver(self) -> dict[str, Any] | None:
        return {**(super().driver() or {}), "kind": drawing.IN_PARTS, "most": MOST}

    def calibration(self, inputs: Arrays, load: Callable[[], Any]) -> list[tuple[str, Arrays]]:
        """Return latents of training images, at steps of their drowning and as they are, and the images' texts."""
        parts = latent_diffusion.parts(load())
        latents = parts.encoder.predict(inputs[IMAGE].astype(np.float32), verbose=0)[MEAN]
        noisy = {NOISE: self.section.noisy(latents, inputs[NOISE], inputs[STEP], self.steps), STEP: inputs[STEP]}
        tokens = {TOKENS: inputs[TOKENS]}
        condition = parts.text.predict(inputs[TOKENS], verbose=0)[CONDITION]
        return [(DEFAULT, {**noisy, **tokens}), (ENCODE_TEXT, tokens), (DENOISE, {**noisy, CONDITION: condition}),
                (DECODE, {NOISE: latents})]


class _Calls:
    """The parts of a model as functions in a graph."""

    def __init__(self, model: Any):
        self._parts = latent_diffusion.parts(model)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of a text's vectors, without the batch."""
        return tuple(self._parts.text.output[CONDITION].shape[1:])

    def network(self, **tensors: Any) -> dict[str, Any]:
        return dict(self._parts.network(tensors, training=False))

    def text(self, **tensors: Any) -> dict[str, Any]:
        return dict(self._parts.text(tensors[TOKENS], training=False))

    def denoise(self, **tensors: Any) -> dict[str, Any]:
        asked = [tensors[name] for name in (NOISE, STEP, CONDITION)]
        return dict(self._parts.denoiser(asked, training=False))

    def decode(self, **tensors: Any) -> dict[str, Any]:
        return dict(self._parts.decoder(tensors[NOISE], training=False))
