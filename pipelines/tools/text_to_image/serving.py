"""Stable Diffusion on a server: texts, seeds and pictures in, pictures out, with the whole loop in the graph."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from export.keras_models import graph
from export.signature import Function, Tensor
from models.stable_diffusion import (
    CONTEXT,
    DECODE,
    DENOISE,
    DENOISED,
    ENCODE,
    ENCODE_TEXT,
    GENERATED,
    HALF,
    IMAGE,
    LATENTS,
    PARTS,
    POOLED,
    STEP,
    tokens_of,
)
from pipelines.ingest.index import Index
from pipelines.tasks.image_generation import revising, serving
from pipelines.tasks.image_generation.diffusion import GUIDANCE, STEPS
from pipelines.tasks.image_generation.making import NOISE
from pipelines.tools.text_to_image.about import About

with epy.lazy_imports():
    import tensorflow as tf

if TYPE_CHECKING:
    from models.stable_diffusion import StableDiffusion

#: What pictures are made of, and what they are led away from.
TEXT, NEGATIVE = "text", "negative"


def write(model: StableDiffusion, about: About, folder: Path) -> None:
    """Write a SavedModel with a signature for each part, `sample` and `revise`.

    Texts are cut in the graph by KerasHub's tokenizer, whose operators are those of TensorFlow Text: TF Serving has
    them, and a Python process imports tensorflow_text before it loads the model.
    """
    module = tf.Module()
    module.model_variables = [variable.value for variable in model.variables()]
    module.tokenizers = [getattr(model.preprocessor, f"{name}_preprocessor").tokenizer
                         for name in (name.removesuffix("_tokens") for name in about.words)]
    signatures = {}
    for one in functions(model, about):
        traced = tf.function(one.call, autograph=False)
        setattr(module, one.signature.name, traced)
        signatures[one.signature.name] = traced.get_concrete_function(**{spec.name: spec for spec in one.specs(None)})
    tf.saved_model.save(module, str(folder), signatures=signatures)


def functions(model: StableDiffusion, about: About) -> list[Function]:
    """Return a function for each part, and those from seeds to pictures."""
    parts = [graph.function(model.parts[name], graph.signature_of(model.parts[name]).renamed(name)) for name in PARTS]
    calls = {one.signature.name: one.call for one in parts}

    def tokens(texts: Any) -> Mapping[str, Any]:
        known = model.preprocessor.generate_preprocess(texts)
        return {tokens_of(name): tf.ensure_shape(tf.cast(values, tf.int32), [None, about.words[tokens_of(name)].length])
                for name, values in known.items()}

    index = Index(source="", digest="", splits={}, targets={}, learnt={}, inputs={
        NOISE: Tensor(name=NOISE, dtype="float32", shape=about.latent, role="noise"),
        IMAGE: Tensor(name=IMAGE, dtype="uint8", shape=about.image, role="image")})
    settings = (Tensor(name=TEXT, dtype="string", shape=(), role="text", meaning="what the pictures show"),
                Tensor(name=NEGATIVE, dtype="string", shape=(), role="text", meaning="what they do not show"),
                Tensor(name=STEPS, dtype="int32", shape=(),
                       meaning=f"1 to {about.known}; below 1 {about.steps}"),
                Tensor(name=GUIDANCE, dtype="float32", shape=(),
                       meaning=f"towards the text; below 0 {about.guidance:g}"))
    make = _maker(about, calls, tokens)
    return [*parts, serving.sample(make, index, settings),
            serving.sample(make, index, (*settings, *revising.tensors(index)), revising.REVISE)]


def _maker(about: About, calls: Mapping[str, Callable[..., Mapping[str, Any]]],
           tokens: Callable[[Any], Mapping[str, Any]]) -> Callable[[Mapping[str, Any]], Any]:
    """Return the function from noise, texts and settings to pictures, 0..255: what `text_to_image.sample` does."""

    def make(inputs: Mapping[str, Any]) -> Any:
        noise = inputs[NOISE]
        counts = tf.where(inputs[STEPS] < 1, about.steps, inputs[STEPS])
        tf.debugging.assert_less_equal(counts, about.known, f"steps is at most {about.known}")
        guidance = tf.where(inputs[GUIDANCE] < 0, about.guidance, inputs[GUIDANCE])[:, None, None, None]
        with_text, without = (calls[ENCODE_TEXT](**tokens(inputs[name])) for name in (TEXT, NEGATIVE))
        pixels = revising.InGraph.of(inputs)
        original = None if pixels is None else dataclasses.replace(
            pixels, images=calls[ENCODE](image=HALF * (pixels.images + 1))[LATENTS], mask=about.coarse(pixels.mask))
        begin = tf.zeros_like(counts) if original is None else original.begin(counts)
        table = _table(about, counts)

        def flow(x: Any, step: Any, known: Mapping[str, Any]) -> Any:
            asked = {LATENTS: x, STEP: step, CONTEXT: known[CONTEXT], POOLED: known[POOLED]}
            return tf.ensure_shape(calls[DENOISE](**asked)[DENOISED], noise.shape)

        def body(number: Any, x: Any) -> tuple[Any, Any]:
            rows, ahead = table(number), table(number + 1)
            said = flow(x, rows[:, 0], with_text)

            def guided() -> Any:
                other = flow(x, rows[:, 0], without)
                return other + guidance * (said - other)

            towards = tf.cond(tf.reduce_any(guidance != 1), guided, lambda: said)
            after = x + (ahead[:, 2] - rows[:, 2])[:, None, None, None] * towards
            if original is not None:
                after = original.kept(after, ahead, noise)
            taken = (number >= begin) & (number < counts)
            return number + 1, tf.where(taken[:, None, None, None], after, x)

        x = noise if original is None else original.noisy(table(begin), noise)
        _, x = tf.while_loop(lambda number, x: number < tf.reduce_max(counts), body, (tf.reduce_min(begin), x))
        pictures = calls[DECODE](latents=x)[GENERATED]
        return pictures if pixels is None else tf.where(pixels.mask, pictures, HALF * (pixels.images + 1))

    return make


def _table(about: About, counts: Any) -> Callable[[Any], Any]:
    """Return the function from the number of a step to the step of the model, and the shares of image and noise, of
    each picture, float32 (batch, 3): the first columns of `export.writing.flow.plan`. Behind the last there is no
    noise.

    Args:
        counts: steps that are planned for each picture, int32 (batch,).
    """

    def shifted(share: Any) -> Any:
        return about.shift * share / (1 + (about.shift - 1) * share)

    first, last = 1.0, about.shift / about.known / (1 + (about.shift - 1) / about.known)
    sizes = tf.cast(counts, tf.float64)

    def row(number: Any) -> Any:
        place = tf.cast(number, tf.float64) / tf.maximum(sizes - 1, 1)
        noises = tf.where(number < counts, shifted(first + (last - first) * place), tf.zeros_like(sizes))
        return tf.cast(tf.stack([about.known * noises, 1 - noises, noises], axis=1), tf.float32)

    return row
