"""The builders that make pictures: what their models are trained by, and what a task must say for them."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipelines.errors import UserError
from pipelines.training.autoencoder_weights import Autoencoder
from pipelines.training.generative.adversarial import Adversarial
from pipelines.training.generative.denoising import Denoising
from pipelines.training.generative.elbo import Elbo
from pipelines.training.generative.loss import GenerativeLoss
from pipelines.training.generative.quantized import Quantized
from pipelines.training.generative.style_gan import StyleGan

if TYPE_CHECKING:
    from pipelines.tasks.image_generation.task import ImageGeneration
    from pipelines.training.model_section import ModelSection

#: What a recipe without train.loss means, by builder.
LOSSES = {"vae": "elbo", "autoencoder": "elbo", "vqvae": "quantized", "dcgan": "gan", "stylegan2": "style_gan",
          "ddpm": "denoising", "latent_diffusion": "denoising"}
#: What their models can be trained by.
KINDS: Mapping[str, type[GenerativeLoss]] = {
    "vae": Elbo, "autoencoder": Elbo, "vqvae": Quantized, "dcgan": Adversarial, "stylegan2": StyleGan,
    "ddpm": Denoising, "latent_diffusion": Denoising}
#: The builders whose models are asked step by step, for codes first, and by a text.
STEP_BY_STEP, CODED, BY_TEXT = ("ddpm", "latent_diffusion"), "vqvae", "latent_diffusion"


def check(section: ModelSection | None, task: ImageGeneration) -> None:
    """Raise UserError where a builder that is known here does not go with a task's settings.

    Args:
        section: its builder and settings.
    """
    builder = section.builder if section is not None else ""
    is_step_by_step = builder in STEP_BY_STEP
    if is_step_by_step and task.diffusion is None:
        size = "image" if builder == "ddpm" else "[height / 4, width / 4, 4]"
        raise UserError(f"model.builder: {builder} is asked step by step: give task.image_generation.diffusion, "
                        f"for instance {{sampled: 20}}, and data.noise.size: {size}")
    if builder not in LOSSES:
        return
    if (builder == CODED) != task.codes:
        raise UserError(f"task.image_generation.codes is {str(task.codes).lower()}, and {builder} makes pictures "
                        f"{'of' if builder == CODED else 'without'} codes: set it to {str(not task.codes).lower()}")
    if not is_step_by_step and task.diffusion is not None:
        raise UserError(f"task.image_generation.diffusion: {builder} makes pictures in one step; leave it out, or "
                        f"take model.builder: {' or '.join(STEP_BY_STEP)}")
    if (builder == BY_TEXT) != (task.by == "text"):
        raise UserError(f"task.image_generation.by is {task.by or 'not given'}, and {builder} makes pictures "
                        + ("of texts: set it to text" if builder == BY_TEXT else
                           f"of no texts: leave it out, or take model.builder: {BY_TEXT}"))
    if builder == BY_TEXT and (section is None or not isinstance(section.weights, Autoencoder)):
        raise UserError(f"model.weights: {builder} learns in the latents of an autoencoder: give its recipe, for "
                        "instance weights: {autoencoder: recipes/generative/autoencoder.yaml}")
