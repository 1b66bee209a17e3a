"""Diffusion: how pictures are made by a network that says what to take away of noise, step by step."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from etils import epy
from pydantic import Field

from export.signature import Arrays
from models.ddpm import CONDITION, DENOISED, NOISE, STEP
from pipelines.entries import Section

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

    from export.writing import diffusion

if TYPE_CHECKING:
    from collections.abc import Callable

    from export.predictors import Predictor


class DiffusionSection(Section):
    """How pictures are made step by step.

    Args:
        sampled: steps that the sampler takes, of those that the model knows, see data.step.
        guidance: how far a class is exaggerated; 1 is not at all, and then the network is asked once for each step.
        schedule: how images drown in noise.
        target: what the network says of a noisy image.
    """

    sampled: int = Field(20, ge=1)
    guidance: float = Field(1.0, ge=0)
    schedule: Literal["cosine", "linear"] = "cosine"
    target: Literal["velocity", "noise", "image"] = "velocity"

    def made(self, predictor: Predictor, noise: np.ndarray, condition: np.ndarray | None, steps: int) -> np.ndarray:
        """Return pictures of noise, 0..255.

        Args:
            condition: (batch, classes); None where nothing is asked for.
            steps: that the model knows.
        """
        def said(x: np.ndarray, step: int, asked: np.ndarray | None) -> np.ndarray:
            inputs: Arrays = {NOISE: x, STEP: np.full(len(x), step, np.float32),
                              **({} if asked is None else {CONDITION: asked})}
            return predictor.predict(inputs)[DENOISED]

        def denoise(x: np.ndarray, step: int) -> np.ndarray:
            answer = said(x, step, condition)
            if condition is None or self.guidance == 1:
                return answer
            return diffusion.guided(answer, said(x, step, np.zeros_like(condition)), self.guidance)

        left = diffusion.signal(steps, self.schedule)
        return 127.5 * (diffusion.ddim(denoise, noise, left, self.sampled, self.target) + 1)

    def in_graph(self, call: Callable[..., Mapping[str, Any]], inputs: Mapping[str, Any], steps: int) -> Any:
        """Return pictures of noise, 0..255, in a graph: the same as `made` but for the last digits.

        Args:
            call: of the network.
            inputs: `noise`, and `condition` where one is asked for.
        """
        left = diffusion.signal(steps, self.schedule)
        taken = diffusion.times(steps, self.sampled)
        noise, condition = inputs[NOISE], inputs.get(CONDITION)
        known = {name: tf.constant(values, tf.float32) for name, values in (
            ("step", taken[:-1]), ("signal", np.sqrt(left[taken[:-1]])), ("noise", np.sqrt(1 - left[taken[:-1]])),
            ("next_signal", np.sqrt(left[taken[1:]])), ("next_noise", np.sqrt(1 - left[taken[1:]])))}

        def said(x: Any, step: Any, asked: Any) -> Any:
            given = {NOISE: x, STEP: tf.fill([tf.shape(x)[0]], step)}
            return call(**given, **({} if asked is None else {CONDITION: asked}))[DENOISED]

        def body(number: Any, x: Any) -> tuple[Any, Any]:
            now = {name: values[number] for name, values in known.items()}
            answer = said(x, now["step"], condition)
            if condition is not None and self.guidance != 1:
                without = said(x, now["step"], tf.zeros_like(condition))
                answer = without + self.guidance * (answer - without)
            image = {"velocity": now["signal"] * x - now["noise"] * answer, "image": answer,
                     "noise": (x - now["noise"] * answer) / tf.maximum(now["signal"], 1e-6)}[self.target]
            image = tf.clip_by_value(image, -1, 1)
            added = (x - now["signal"] * image) / tf.maximum(now["noise"], 1e-6)
            return number + 1, tf.ensure_shape(now["next_signal"] * image + now["next_noise"] * added, noise.shape)

        _, x = tf.while_loop(lambda number, _: number < self.sampled, body, (tf.constant(0), noise))
        return 127.5 * (x + 1)

    def noisy(self, images: np.ndarray, noise: np.ndarray, steps: np.ndarray, known: int) -> np.ndarray:
        """Return images, 0..255, at some steps of their drowning, as the network sees them.

        Args:
            known: the steps that the model knows.
        """
        left = diffusion.signal(known, self.schedule)[steps.astype(int)]
        return diffusion.noisy(images.astype(np.float32) / 127.5 - 1, noise, left)
