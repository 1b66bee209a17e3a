"""Diffusion: how pictures are made by a network that says what to take away of noise, step by step."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from etils import epy
from pydantic import Field

from export.signature import Arrays
from models.ddpm import CONDITION, DENOISED, NOISE, STEP
from pipelines.entries import Section
from pipelines.tasks.image_generation import revising, sampling

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

    from export.writing import diffusion

if TYPE_CHECKING:
    from collections.abc import Callable

    from export.predictors import Predictor
    from export.writing.diffusion import Original

#: What a server's `sample` takes for another number of steps, and another guidance.
STEPS, GUIDANCE = "steps", "guidance"


class DiffusionSection(Section):
    """How pictures are made step by step.

    Args:
        sampled: steps that the sampler takes, of those that the model knows, see data.step.
        guidance: how far a class is exaggerated; 1 is not at all, and then the network is asked once for each step.
        sampler: how it takes them: `ddim`, or `dpm_solver`, which needs fewer.
        schedule: how images drown in noise.
        target: what the network says of a noisy image.
    """

    sampled: int = Field(20, ge=1)
    guidance: float = Field(1.0, ge=0)
    sampler: Literal["ddim", "dpm_solver"] = "ddim"
    schedule: Literal["cosine", "linear"] = "cosine"
    target: Literal["velocity", "noise", "image"] = "velocity"

    def made(self, predictor: Predictor, noise: np.ndarray, condition: np.ndarray | None, steps: int,
             original: Original | None = None) -> np.ndarray:
        """Return pictures of noise, 0..255.

        Args:
            condition: (batch, classes); None where nothing is asked for.
            steps: that the model knows.
            original: what they are made of, beside noise.
        """
        def said(x: np.ndarray, step: int, asked: np.ndarray | None) -> np.ndarray:
            inputs: Arrays = {NOISE: x, STEP: np.full(len(x), step, np.float32),
                              **({} if asked is None else {CONDITION: asked})}
            return predictor.predict(inputs)[DENOISED]

        nothing = None if condition is None else np.zeros_like(condition)
        return 127.5 * (self.sampled_of(said, noise, (condition, nothing), steps, original=original) + 1)

    def sampled_of(self, said: Callable[[np.ndarray, int, Any], np.ndarray], noise: np.ndarray,
                   asked: tuple[np.ndarray | None, np.ndarray | None], steps: int, most: float = 1.0,
                   original: Original | None = None) -> np.ndarray:
        """Return what noise becomes: pictures, -1..1, or latents.

        Args:
            said: from noisy ones, their step and what is asked for to what the network says.
            asked: what is asked for, and what asks for nothing; None where nothing can be asked for.
            steps: that the model knows.
            most: see `export.writing.diffusion.image_of`.
            original: what pictures are made of, beside noise.
        """
        condition, nothing = asked

        def denoise(x: np.ndarray, step: int) -> np.ndarray:
            answer = said(x, step, condition)
            if condition is None or self.guidance == 1:
                return answer
            return diffusion.guided(answer, said(x, step, nothing), self.guidance)

        return diffusion.sampled(denoise, noise, self.plan(steps), self.target, most, original)

    @property
    def calls(self) -> int:
        """Return how often the network is asked for a picture."""
        return self.sampled * (1 if self.guidance == 1 else 2)

    def plan(self, steps: int) -> np.ndarray:
        """Return what the sampler does step by step, see `export.writing.diffusion.plan`.

        Args:
            steps: that the model knows.
        """
        return diffusion.plan(diffusion.signal(steps, self.schedule), self.sampled, self.sampler)

    def in_graph(self, call: Callable[..., Mapping[str, Any]], inputs: Mapping[str, Any], steps: int) -> Any:
        """Return pictures of noise, 0..255, in a graph: the same as `made` but for the last digits.

        Args:
            call: of the network.
            inputs: `noise`, and `condition` where one is asked for; `steps` that are taken and `guidance`, (batch,),
                where they are another than these; `original`, `mask` and `strength` where they are made of images.
        """
        condition = inputs.get(CONDITION)

        def said(x: Any, step: Any, asked: Any) -> Any:
            return call(**{NOISE: x, STEP: step, **({} if asked is None else {CONDITION: asked})})[DENOISED]

        nothing = None if condition is None else tf.zeros_like(condition)
        return 127.5 * (self.sampled_in_graph(said, inputs, (condition, nothing), steps) + 1)

    def sampled_in_graph(self, said: Callable[[Any, Any, Any], Any], inputs: Mapping[str, Any],
                         asked: tuple[Any, Any], steps: int, most: float = 1.0) -> Any:
        """Return what noise becomes, in a graph: the same as `sampled_of` but for the last digits.

        Args:
            inputs: `noise`; `steps` and `guidance` where they are another than these; `original`, `mask` and `strength`
                where pictures are made of others.
        """
        noise, (condition, nothing) = inputs[NOISE], asked
        count = tf.shape(noise)[0]
        counts = inputs.get(STEPS, tf.fill([count], self.sampled))
        guidance = tf.reshape(inputs.get(GUIDANCE, tf.fill([count], self.guidance)), [-1, 1, 1, 1])
        original = revising.InGraph.of(inputs)
        begin = tf.zeros_like(counts) if original is None else original.begin(counts)
        table = sampling.plan(diffusion.signal(steps, self.schedule), counts, self.sampler, begin)

        def answer(x: Any, step: Any) -> Any:
            known = tf.ensure_shape(said(x, step, condition), noise.shape)
            if condition is None or (GUIDANCE not in inputs and self.guidance == 1):
                return known

            def guided() -> Any:
                without = tf.ensure_shape(said(x, step, nothing), noise.shape)
                return without + guidance * (known - without)

            return tf.cond(tf.reduce_any(guidance != 1), guided, lambda: known)

        def body(number: Any, x: Any, last: Any) -> tuple[Any, Any, Any]:
            now = dict(zip(diffusion.COLUMNS, tf.unstack(table(number), axis=1), strict=True))
            step, (signals, noises, keep, share, before) = now["step"], (
                now[name][:, None, None, None] for name in diffusion.COLUMNS[1:])
            network = answer(x, step)
            image = {"velocity": signals * x - noises * network, "image": network,
                     "noise": (x - noises * network) / tf.maximum(signals, 1e-6)}[self.target]
            image = tf.clip_by_value(image, -most, most)
            after = keep * x + share * image + before * last
            if original is not None:
                after = original.kept(after, table(number + 1), noise)
            taken = (number >= begin) & (number < counts)
            return number + 1, tf.where(taken[:, None, None, None], after, x), image

        first = tf.reduce_min(begin)
        x = noise if original is None else original.noisy(table(begin), noise)
        return tf.while_loop(lambda number, *_: number < tf.reduce_max(counts), body,
                             (first, x, tf.zeros_like(noise)))[1]

    def noisy(self, images: np.ndarray, noise: np.ndarray, steps: np.ndarray, known: int) -> np.ndarray:
        """Return images, -1..1, or latents, at some steps of their drowning, as the network sees them.

        Args:
            known: the steps that the model knows.
        """
        return diffusion.noisy(images, noise, diffusion.signal(known, self.schedule)[steps.astype(int)])
