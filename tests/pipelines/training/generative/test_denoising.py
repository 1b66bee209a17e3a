"""Diffusion: what a network is shown and should say, and the sampler in a graph."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from export.writing import diffusion
from pipelines.errors import UserError
from pipelines.features.noise import Noise
from pipelines.ingest.indexing import Reader
from pipelines.recipe.recipe import Recipe
from pipelines.tasks.image_generation import ImageGeneration, sampling
from pipelines.tasks.image_generation.diffusion import DiffusionSection
from pipelines.training.learners.diffusing import diffusing
from pipelines.training.learners.supervised import learning
from pipelines.training.losses import Loss

GENERATOR = np.random.default_rng(0)
SMALL = {"width": 4, "multipliers": (1, 2), "units": 1, "attention": (4,), "groups": 2}
LEFT = diffusion.signal(50, "cosine")
TASK = {"image_generation": {"judge": "judge.keras", "by": "class", "diffusion": {"sampled": 5, "guidance": 2.0}}}
RECIPE = {"name": "d", "task": TASK, "model": {"builder": "ddpm", **SMALL}, "data": {
    "source": "digits", "image": {"size": 8, "channels": 1}, "noise": {"size": "image"}, "step": {"steps": 50}}}


@pytest.mark.parametrize("target", ["velocity", *(pytest.param(one, marks=pytest.mark.slow)
                                                 for one in ("noise", "image"))])
def test_what_is_learnt_leads_back_to_the_image_and_the_noise(target):
    model = models.build("ddpm", input_shape=(8, 8, 1), noise_shape=(8, 8, 1), classes=2, **SMALL)
    seen = []
    loss = Loss.read("denoising")

    def objective(inputs, targets, outputs):
        seen.append((inputs, targets))
        return loss.objective()(inputs, targets, outputs)

    learner = learning(model, keras, diffusing(keras, LEFT, target, 0.5)).prepare(objective, {})
    learner.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    inputs = {"image": GENERATOR.integers(0, 256, (64, 8, 8, 1)).astype("float32"),
              "noise": GENERATOR.normal(size=(64, 8, 8, 1)).astype("float32"),
              "step": GENERATOR.integers(1, 51, 64).astype("float32"),
              "condition": np.eye(2, dtype="float32")[[0] * 64]}
    inputs = {name: tf.constant(values) for name, values in inputs.items()}
    learner.test_on_batch(inputs, {"label": np.zeros(64)})
    learner.train_on_batch(inputs, {"label": np.zeros(64)})
    (shown, true), (drawn, other) = seen
    for number in (0, 17):
        x, left = shown["noise"][number].numpy(), float(LEFT[int(inputs["step"][number])])
        signals, noises = left ** 0.5, (1 - left) ** 0.5
        image = diffusion.image_of(true["denoised"][number].numpy(), x, signals, noises, target)
        noise = (x - signals * image) / noises
        if inputs["step"][number] < 45:
            np.testing.assert_allclose(image, inputs["image"][number] / 127.5 - 1, atol=2e-3)
        np.testing.assert_allclose(noise, inputs["noise"][number], atol=2e-2)
    steps = drawn["step"].numpy()
    assert steps.min() >= 1 and steps.max() <= 50 and len(set(steps)) > 20 and (steps == steps.round()).all()
    assert 0.2 < (drawn["condition"].numpy().sum(axis=1) == 0).mean() < 0.8, "half of the classes are left out"
    assert np.abs(drawn["noise"] - shown["noise"]).max() > 0.5 and other["denoised"].shape == true["denoised"].shape


def known(**tensors):
    """Stand in for a network, by a formula."""
    x = tf.cast(tensors["noise"], tf.float32)
    return {"denoised": 0.7 * x + 0.01 * tf.cast(tensors["step"], tf.float32)[:, None, None, None]
            + 0.1 * tf.reduce_sum(tensors["condition"][:, :1], axis=1)[:, None, None, None]}


class Known:
    def predict(self, inputs):
        return {name: value.numpy() for name, value in known(**inputs).items()}


@pytest.mark.parametrize("target", ["velocity", "noise", "image"])
@pytest.mark.parametrize(("sampler", "guidance"), [("ddim", 1.0), ("ddim", 2.5), ("dpm_solver", 2.5)])
def test_the_sampler_in_a_graph_is_the_one_in_numpy(target, sampler, guidance):
    section = DiffusionSection(sampled=7, guidance=guidance, target=target, sampler=sampler)
    noise = GENERATOR.normal(size=(3, 4, 4, 1)).astype("float32")
    condition = np.eye(2, dtype="float32")[[0, 1, 0]]
    made = section.made(Known(), noise, condition, 50)
    graph = tf.function(lambda: section.in_graph(known, {"noise": tf.constant(noise),
                                                        "condition": tf.constant(condition)}, 50))()
    np.testing.assert_allclose(graph, made, atol=0.05)
    assert made.min() >= -1e-3 and made.max() <= 255.001


def test_each_picture_may_take_steps_and_guidance_of_its_own():
    noise = GENERATOR.normal(size=(3, 4, 4, 1)).astype("float32")
    condition = np.eye(2, dtype="float32")[[0, 1, 0]]
    asked = [(9, 1.0), (2, 3.0), (50, 0.5)]
    section = DiffusionSection(sampler="dpm_solver")
    inputs = {"noise": noise, "condition": condition, "steps": np.int32([one for one, _ in asked]),
              "guidance": np.float32([one for _, one in asked])}
    graph = tf.function(lambda: section.in_graph(known, {name: tf.constant(one) for name, one in inputs.items()}, 50))()
    for number, (steps, guidance) in enumerate(asked):
        alone = DiffusionSection(sampler="dpm_solver", sampled=steps, guidance=guidance)
        made = alone.made(Known(), noise[number:number + 1], condition[number:number + 1], 50)
        np.testing.assert_allclose(graph[number:number + 1], made, atol=0.05)


def test_rows_of_the_graph_are_those_of_the_table():
    left = diffusion.signal(1000, "cosine")
    counts = [1, 2, 3, 16, 33, 1000]
    row = sampling.plan(left, tf.constant(counts), "dpm_solver")
    tables = [diffusion.plan(left, count, "dpm_solver") for count in counts]
    for number in (0, 1, 2, 15, 31, 32, 500, 999):
        for known_row, table in zip(row(tf.constant(number)).numpy(), tables, strict=True):
            if number < len(table):
                np.testing.assert_allclose(known_row, table[number], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("changes", "steps", "guidance", "message"), [
    ({}, 0, None, "--steps is 0; give 1 to 50, which"), ({}, 51, None, "--steps is 51"),
    ({}, None, -1.0, "--guidance is -1; give 0 or more"), ({}, None, float("nan"), "--guidance is nan"),
    ({"by": None, "diffusion": {"sampled": 5}}, None, 2.0, "the model takes none; leave it out"),
    ({"diffusion": None}, 5, None, "--steps: the model makes pictures without steps"),
    ({"diffusion": None}, None, 2.0, "--guidance: the model makes pictures without steps")])
def test_steps_and_guidance_that_a_model_does_not_take_are_refused(changes, steps, guidance, message):
    task = ImageGeneration.model_validate({**TASK["image_generation"], **changes})
    task._steps = 50
    with pytest.raises(UserError, match=message):
        task.sampled_by(steps, guidance)


def test_the_data_have_noise_of_the_images_size_and_a_step():
    recipe = Recipe.model_validate(RECIPE)
    reader = Reader(recipe.data, recipe.task)
    drawn = {name: np.stack([reader.features[name].decode(tf.constant(f"train/{number}"), reader.learnt[name])
                             for number in range(30)]) for name in ("noise", "step")}
    assert drawn["noise"].shape == (30, 8, 8, 1) and drawn["step"].shape == (30,)
    assert ((drawn["step"] >= 1) & (drawn["step"] <= 50)).all() and len(set(drawn["step"])) > 10
    images = GENERATOR.integers(0, 256, (30, 8, 8, 1))
    (_, calibrated), = recipe.task.calibration({"image": images, **drawn, "step": np.ones(30, np.float32)}, None)
    assert set(calibrated) == {"noise", "step"}
    assert np.abs(calibrated["noise"] - (images / 127.5 - 1)).max() < 1, "images at their first step"
    assert Noise(size="image").beside({}).size == "image"


@pytest.mark.parametrize(("task", "message"), [
    ({"by": None}, "guidance is towards a class or a text that is asked for"),
    ({"diffusion": {"sampled": 0}}, "sampled")])
def test_settings_that_mean_nothing_are_refused(task, message):
    changed = {"image_generation": {**TASK["image_generation"], **task}}
    with pytest.raises(ValueError, match=message):
        Recipe.model_validate({**RECIPE, "task": changed})


def test_models_and_steps_that_do_not_go_together_are_refused():
    data = {**RECIPE["data"], "step": {"steps": 4}}
    recipe = Recipe.model_validate({**RECIPE, "data": data})
    with pytest.raises(UserError, match=r"sampled is 5, and a model of data\.step\.steps: 4 knows no more steps"):
        Reader(recipe.data, recipe.task)
    vae = Recipe.model_validate({**RECIPE, "model": {"builder": "vae"}})
    with pytest.raises(UserError, match="vae makes pictures in one step; leave it out"):
        vae.task.dimensions(None)
    alone = ImageGeneration(by="class").of_model(recipe.model)
    with pytest.raises(UserError, match=r"ddpm is asked step by step: give task\.image_generation\.diffusion"):
        alone.dimensions(None)
    coded = Recipe.model_validate({**RECIPE, "model": {"builder": "vqvae"}})
    with pytest.raises(UserError, match=r"codes is false, and vqvae makes pictures of codes: set it to true"):
        coded.task.dimensions(None)


@pytest.mark.parametrize(("side", "noise", "width", "message"), [
    (8, (16,), 4, "set data.noise.size to image"), (9, (9, 9, 1), 4, "9 x 9 pixels do not halve so often"),
    (8, (8, 8, 1), 3, "3 filters are no multiple of 2 groups")])
def test_what_the_network_cannot_be_made_for_is_refused(side, noise, width, message):
    with pytest.raises(ValueError, match=message):
        models.build("ddpm", input_shape=(side, side, 1), noise_shape=noise, classes=0, **{**SMALL, "width": width})
