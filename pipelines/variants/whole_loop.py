"""The variant of a diffusion model that makes a picture in one call: the sampler is a loop in the file."""
from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from etils import epy

from export.conversion import convert
from export.keras_models import graph
from export.keras_models.for_delegates import for_delegates
from export.predictors.litert import LiteRTPredictor
from export.signature import Function, Signature
from models.ddpm import DENOISED, STEP
from pipelines.engine.store import whole
from pipelines.tasks.image_generation.making import GENERATE, NOISE, asked_of
from pipelines.tasks.image_generation.measure import CONDITION, GENERATED
from pipelines.tasks.image_generation.one_step import OneStep
from pipelines.tasks.image_generation.stepwise import Stepwise
from pipelines.tasks.image_generation.task import ImageGeneration
from pipelines.variants.variant import Variant, VariantContext

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

    from export.writing import diffusion

if TYPE_CHECKING:
    from pipelines.tasks.image_generation.diffusion import DiffusionSection

#: Pictures by which a file is held against the loop outside of it, and how far a pixel may be off, of 255.
HELD, ALLOWED = 2, 1.0


class WholeLoop(Variant, name="whole_loop", shorthand="encode"):
    """A diffusion model whose file makes whole pictures: `noise`, and `condition`, go in, and `generated` comes out.

    The steps and the guidance are the recipe's. The network is asked with and without a class at once, so that its
    weights are in the file once. An app needs the noise alone, and no sampler; it cannot show what comes of each step,
    nor stop early.

    Args:
        encode: how its numbers are written. Of integers there is none: see the variant int8.
    """

    encode: Literal["float32", "float16", "dynamic"] = "float32"

    @property
    def encoding(self) -> str:
        return self.encode

    @property
    def summary(self) -> str:
        return f"the sampler's loop in the file; {super().summary}"

    def content(self, context: VariantContext) -> bytes:
        """Return the file. Raises ValueError where the model does not make pictures step by step, or the loop in the
        file makes others than the one outside."""
        task = context.data.task
        making = task.making if isinstance(task, ImageGeneration) else None
        if type(making) is not Stepwise:
            raise ValueError("whole_loop is for diffusion models, whose pictures are made step by step; leave it out")
        section, index = making.section, context.data.index
        signature = Signature(name=GENERATE, inputs=asked_of(index), outputs=OneStep().outputs(index))
        folder = context.folder / "whole_loop"
        shutil.rmtree(folder, ignore_errors=True)

        def functions(model: Any) -> list[Function]:
            step = graph.function(for_delegates(model), making.signature(index))
            return [Function(signature, looped(section, making.steps, step.call))]

        convert.float_graph(context.load(), functions, folder)
        content = convert.convert(folder, self.encode)
        context.details["whole_loop"] = {"steps": section.sampled, "guidance": section.guidance}
        self._check(context, making, content)
        return content

    def _check(self, context: VariantContext, making: Stepwise, content: bytes) -> None:
        """Raise ValueError where the file's pictures are not those of the loop outside, on the same numbers; note by
        how much they differ."""
        one, step = context.folder / "whole_loop.tflite", context.folder / "step.tflite"
        for path, made in ((one, content), (step, convert.convert(context.graph, self.encode))):
            with whole(path) as beside:
                beside.write_bytes(made)
        inputs, _ = context.data.arrays("validation", HELD)
        expected = making.section.made(LiteRTPredictor(step), inputs[NOISE], inputs.get(CONDITION), making.steps)
        pictures = LiteRTPredictor(one).predict({name: inputs[name] for name in (NOISE, CONDITION) if name in inputs},
                                                GENERATE)[GENERATED]
        off = float(np.abs(pictures - expected).max())
        context.details["whole_loop"]["off"] = round(off, 4)
        if not off <= ALLOWED:
            raise ValueError(f"whole_loop: its pictures are off those of the loop outside by {off:.2g} of 255, more "
                             f"than {ALLOWED:g}")


def looped(section: DiffusionSection, known: int,
           call: Callable[..., Mapping[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return the function from `noise`, (1, height, width, channels), and `condition` where a class is asked for, to
    `generated`, pixels 0..255, of operators that devices have: what `DiffusionSection.made` does.

    Args:
        known: the steps that the model knows.
        call: of the network.
    """
    def make(**tensors: Any) -> dict[str, Any]:
        table = tf.constant(section.plan(known), tf.float32)
        noise, condition = tensors[NOISE], tensors.get(CONDITION)

        def said(x: Any, step: Any) -> Any:
            if condition is None:
                return call(**{NOISE: x, STEP: step})[DENOISED]
            if section.guidance == 1:
                return call(**{NOISE: x, STEP: step, CONDITION: condition})[DENOISED]
            asked = tf.concat([condition, tf.zeros_like(condition)], axis=0)
            both = call(**{NOISE: tf.concat([x, x], axis=0), STEP: tf.concat([step, step], axis=0), CONDITION: asked})
            towards, without = tf.split(both[DENOISED], 2, axis=0)
            return diffusion.guided(towards, without, section.guidance)

        def body(number: Any, x: Any, last: Any) -> tuple[Any, Any, Any]:
            step, signals, noises, keep, share, before = tf.split(tf.gather(table, number), 6)
            network = said(x, step)
            image = {"velocity": signals * x - noises * network, "image": network,
                     "noise": (x - noises * network) / tf.maximum(signals, 1e-6)}[section.target]
            image = tf.clip_by_value(image, -1, 1)
            return number + 1, keep * x + share * image + before * last, image

        begin = (tf.constant(0), noise, tf.zeros_like(noise))
        _, x, _ = tf.while_loop(lambda number, *_: number < table.shape[0], body, begin)
        return {GENERATED: 127.5 * (x + 1)}

    return make
