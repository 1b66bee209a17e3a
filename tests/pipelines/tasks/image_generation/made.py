"""Small models of the task with weights that nobody trained, for tests of what makes pictures of them."""
from __future__ import annotations

from typing import Any

import numpy as np

import models
from pipelines.ingest.data import Data
from pipelines.tasks.image_generation import ImageGeneration
from pipelines.training.model_section import ModelSection
from tests.pipelines.tasks.small_data import data_of

#: Builder to what its recipe has: of the task, of the data, and of the model.
RECIPES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "vae": ({}, {"noise": {"size": 6}}, {"units": 16}),
    "dcgan": ({}, {"noise": {"size": 6}}, {"width": 4, "depth": 2}),
    "vqvae": ({"codes": True}, {"noise": {"size": 4}}, {"width": 8, "codes": 16, "size": 4, "prior_width": 8}),
    "stylegan2": ({}, {"noise": {"size": 6}}, {"width": 8, "most": 8, "depth": 2, "units": 8, "layers": 2}),
    "ddpm": ({"diffusion": {"sampled": 4, "guidance": 2}}, {"noise": {"size": "image"}, "step": {"steps": 40}},
             {"width": 4, "multipliers": [1, 2], "units": 1, "attention": [4], "groups": 2})}


def task_of(builder: str, **changes: Any) -> tuple[ImageGeneration, Data]:
    """Return the task of a builder, which makes digits by class, and its data.

    Args:
        changes: of the task.
    """
    how, section, settings = RECIPES[builder]
    task = ImageGeneration.model_validate({"judge": "recipes/vision/digits.yaml", "by": "class", **how, **changes})
    task = task.of_model(ModelSection.model_validate({"builder": builder, **settings}))
    return task, data_of(task, source="digits", image={"size": 8, "channels": 1}, **section)


def model_of(builder: str, task: ImageGeneration, data: Data) -> Any:
    """Return a model whose weights are random, those too that a builder sets to zero, so that pictures differ."""
    model = models.builder(builder).build(task.dimensions(data.index), RECIPES[builder][2])
    generator = np.random.default_rng(0)
    for weight in model.trainable_variables:
        if not np.asarray(weight).any():
            weight.assign(generator.normal(0, 0.3, weight.shape))
    return model
