"""Diffusion in latents: what is learnt and what is not, and the loop part by part, in NumPy and in a graph."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from export.signature import DEFAULT, Tensor
from export.writing import diffusion
from models import latent_diffusion
from pipelines.errors import UserError
from pipelines.ingest.indexing import Reader
from pipelines.recipe.recipe import Recipe
from pipelines.tasks.image_generation import ImageGeneration
from pipelines.tasks.image_generation.diffusion import DiffusionSection
from pipelines.tasks.image_generation.latent import DECODE, DENOISE, ENCODE_TEXT, MOST, Latent
from pipelines.training import network
from pipelines.training.learners.latent import diffusing_latents
from pipelines.training.learners.supervised import learning
from pipelines.training.losses import Loss
from pipelines.training.model_section import ModelSection

GENERATOR = np.random.default_rng(0)
SMALL = {"width": 4, "multipliers": [1], "groups": 2, "heads": 2, "text_units": 8, "text_depth": 1,
         "autoencoder_width": 4}
LEFT = diffusion.signal(50, "cosine")
TASK = {"image_generation": {"judge": "judge.keras", "by": "text", "diffusion": {"sampled": 3, "guidance": 2.0}}}
RECIPE = {"name": "d", "task": TASK,
          "model": {"builder": "latent_diffusion", **SMALL, "weights": {"autoencoder": "autoencoder.keras"}}, "data": {
              "source": {"captioned": "digits"}, "image": {"size": 8, "channels": 1}, "noise": {"size": [2, 2, 3]},
              "step": {"steps": 50}, "tokens": {"length": 6}}}


@pytest.fixture(scope="module")
def model():
    """A network whose weights say something, always the same."""
    keras.utils.set_random_seed(0)
    model = models.build("latent_diffusion", input_shape=(8, 8, 1), noise_shape=(2, 2, 3), length=6, vocabulary=12,
                         **SMALL)
    generator = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(generator.normal(0, 0.2, weight.shape))
    model.get_layer("mean").moving_mean.assign([0.5, -0.5, 0.1])
    return model


def test_noise_is_added_to_latents_and_the_autoencoder_stays_as_it_is(model):
    seen = []

    def objective(inputs, targets, outputs):
        seen.append((inputs, targets))
        return Loss.read("denoising").objective()(inputs, targets, outputs)

    learner = learning(model, keras, diffusing_latents(keras, LEFT, "velocity", 0.5)).prepare(objective, {})
    learner.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    inputs = {"image": GENERATOR.integers(0, 256, (64, 8, 8, 1)).astype("float32"),
              "noise": GENERATOR.normal(size=(64, 2, 2, 3)).astype("float32"),
              "step": GENERATOR.integers(1, 45, 64).astype("float32"), "tokens": np.full((64, 6), 3, "int32")}
    inputs = {name: tf.constant(values) for name, values in inputs.items()}
    parts = latent_diffusion.parts(model)
    latents = parts.encoder(inputs["image"])["mean"].numpy()
    before = [[weight.numpy() for weight in part.weights] for part in (parts.encoder, parts.decoder, parts.network)]
    learner.test_on_batch(inputs, {"label": np.zeros(64)})
    learner.train_on_batch(inputs, {"label": np.zeros(64)})
    (shown, true), (drawn, _) = seen
    for number in (0, 17):
        left = float(LEFT[int(inputs["step"][number])])
        latent = diffusion.image_of(true["denoised"][number].numpy(), shown["noise"][number].numpy(), left ** 0.5,
                                    (1 - left) ** 0.5, "velocity", MOST)
        np.testing.assert_allclose(latent, latents[number], atol=1e-4)
    dropped = (drawn["tokens"].numpy() == 0).all(axis=1)
    assert 0.2 < dropped.mean() < 0.8 and (drawn["tokens"].numpy()[~dropped] == 3).all()
    for part, old in zip((parts.encoder, parts.decoder), before, strict=False):
        assert all((weight.numpy() == known).all() for weight, known in zip(part.weights, old, strict=True))
    changed = [(weight.numpy() != known).any() for weight, known in zip(parts.network.weights, before[2], strict=True)]
    assert np.mean(changed) > 0.9, "what denoises and what reads the text have learnt"


class InParts:
    """A file with the signatures of a model."""

    def __init__(self, model, in_parts):
        self.parts, self.model = latent_diffusion.parts(model), model
        tensors = tuple(Tensor(name=name, dtype=one.dtype, shape=one.shape[1:]) for name, one in model.input.items())
        usual = type("Usual", (), {"inputs": tensors})
        self.signatures = {DEFAULT: usual, **dict.fromkeys((ENCODE_TEXT, DENOISE, DECODE) if in_parts else ())}

    def predict(self, inputs, signature=DEFAULT):
        known = {name: tf.constant(values) for name, values in inputs.items()}
        said = {DEFAULT: self.model, ENCODE_TEXT: self.parts.text, DECODE: self.parts.decoder}.get(signature)
        order = [known.get(name) for name in ("noise", "step", "condition")]
        answer = self.parts.denoiser(order) if said is None else said(
            known if signature == DEFAULT else next(iter(known.values())))
        return {name: value.numpy() for name, value in answer.items()}


def test_the_loop_is_the_same_in_parts_in_one_piece_and_in_a_graph(model):
    how = Latent(DiffusionSection(sampled=2, guidance=8.0), 50)
    inputs = {"noise": np.random.default_rng(2).normal(size=(3, 2, 2, 3)).astype("float32"),
              "tokens": np.array([[3, 4, 0, 0, 0, 0], [5, 6, 7, 8, 0, 0], [0, 0, 0, 0, 0, 0]], "int32")}
    made = how.made(InParts(model, True), inputs)
    np.testing.assert_allclose(how.made(InParts(model, False), inputs), made, atol=0.05)
    graph = tf.function(lambda: how.in_graph(model, None)({name: tf.constant(one) for name, one in inputs.items()}))()
    np.testing.assert_allclose(graph, made, atol=0.05)
    unguided = Latent(DiffusionSection(sampled=2), 50).made(InParts(model, True), inputs)
    assert np.abs(unguided - made)[:2].max() > 1, "towards the text"
    np.testing.assert_allclose(unguided[2], made[2], atol=0.05, err_msg="nothing is asked for")


def test_the_data_have_texts_as_tokens_and_no_condition():
    recipe = Recipe.model_validate(RECIPE)
    reader = Reader(recipe.data, recipe.task)
    assert set(reader.features) == {"image", "noise", "step", "tokens", "label"}
    own = Recipe.model_validate({**RECIPE, "data": {**RECIPE["data"], "source": "digits"}})
    with pytest.raises(UserError, match=r"by is text, and the source has none; it has image, label\. Name a field"):
        Reader(own.data, own.task)


@pytest.mark.parametrize(("task", "model", "message"), [
    ({"by": "class"}, {}, "by is class, and latent_diffusion makes pictures of texts: set it to text"),
    ({}, {"weights": None}, r"give its recipe, for instance weights: \{autoencoder: recipes/generative/"),
    ({"diffusion": None}, {}, r"is asked step by step: .* data\.noise\.size: \[height / 4, width / 4, 4\]")])
def test_settings_that_do_not_go_with_latents_are_refused(task, model, message):
    section = ModelSection.model_validate({**RECIPE["model"], **model})
    changed = ImageGeneration.model_validate({**TASK["image_generation"], **task}).of_model(section)
    with pytest.raises(UserError, match=message):
        changed.dimensions(None)


def test_other_models_make_pictures_of_no_texts():
    small = {"builder": "ddpm", "width": 4, "multipliers": [1, 2], "groups": 2}
    with pytest.raises(UserError, match=r"ddpm makes pictures of no texts: leave it out, or take model\.builder: lat"):
        Recipe.model_validate({**RECIPE, "model": small}).task.dimensions(None)


def test_weights_of_an_autoencoder_are_those_of_a_latent_diffusion(tmp_path):
    section = ModelSection.model_validate({"builder": "vae", "weights": {"autoencoder": "recipe.yaml"}})
    with pytest.raises(UserError, match=r"model: .* are for latent_diffusion, not for vae: leave them out"):
        network.build(section, {"input_shape": (8, 8, 1), "noise_shape": (4,), "classes": 0}, [], None)
    known = ModelSection.model_validate({"builder": "latent_diffusion", "weights": {"autoencoder": "recipe.yaml"}})
    with pytest.raises(UserError, match=r"model\.weights: recipe\.yaml has not been trained; litepress run trains it"):
        network.load_weights(None, known)
