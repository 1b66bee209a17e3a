"""Codebooks: which vector is taken, what is learnt of it, and codes that are drawn alike here and in a graph."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import norm

import models
from pipelines.recipe.recipe import Recipe
from pipelines.tasks.image_generation.coded import Coded
from pipelines.training.learners.quantizing import nearest
from pipelines.training.learners.supervised import learning
from pipelines.training.losses import Loss

GENERATOR = np.random.default_rng(0)
SETTINGS = {"width": 4, "codes": 6, "size": 3, "prior_width": 5}


def model_of():
    keras.utils.set_random_seed(0)
    return models.build("vqvae", input_shape=(8, 8, 1), noise_shape=(4,), classes=0, **SETTINGS)


def test_the_nearest_vector_is_taken():
    table = GENERATOR.normal(size=(6, 3)).astype("float32")
    vectors = GENERATOR.normal(size=(2, 2, 2, 3)).astype("float32")
    expected = ((vectors.reshape(2, 4, 1, 3) - table) ** 2).sum(-1).argmin(-1)
    np.testing.assert_array_equal(nearest(tf.constant(vectors), tf.constant(table)), expected)


def test_the_loss_is_the_papers():
    shape = (2, 8, 8, 1)
    outputs = {"vectors": GENERATOR.normal(size=(2, 2, 2, 3)), "quantized": GENERATOR.normal(size=(2, 2, 2, 3)),
               "location": GENERATOR.normal(size=shape), "log_scale": GENERATOR.normal(size=shape),
               "code_logits": np.zeros((2, 4, 6))}
    outputs = {name: tf.constant(values, tf.float32) for name, values in outputs.items()}
    outputs["codes"] = tf.zeros([2, 4], tf.int32)
    images = {"image": tf.fill(shape, 9.0)}
    one, other = (Loss.read({"quantized": commitment}).objective()(images, {}, outputs) for commitment in (0.0, 2.0))
    squares = np.square(outputs["vectors"] - outputs["quantized"]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(other - one, 2 * squares, rtol=1e-4)
    from pipelines.training.generative.elbo import log_probability

    pixels = -log_probability(images["image"], outputs["location"], outputs["log_scale"]).numpy().sum(axis=(1, 2, 3))
    np.testing.assert_allclose(one, (pixels / np.log(2) + 4 * np.log2(6)) / 64 + squares, rtol=1e-4)


@pytest.mark.slow
def test_the_encoder_the_codebook_and_the_prior_learn():
    model = model_of()
    loss = Loss.read("quantized")
    learner = learning(model, keras, loss.learner(keras)).prepare(loss.objective(), {})
    learner.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    inputs = {"image": GENERATOR.integers(0, 256, (16, 8, 8, 1)).astype("float32"),
              "noise": GENERATOR.normal(size=(16, 4)).astype("float32"), "codes": np.zeros((16, 4), "int32")}
    batch = tf.data.Dataset.from_tensors((inputs, {"label": np.zeros(16)}))
    before = model.get_weights()
    history = learner.fit(batch, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    still = [weight.path for weight, old in zip(model.weights, before, strict=True)
             if np.array_equal(weight.numpy(), old)]
    assert not still, still


def test_codes_are_drawn_by_their_probabilities_and_the_graph_draws_the_same():
    model = model_of()
    coded = Coded(SETTINGS)

    class Whole:
        signatures = {"prior": None, "decode": None}
        parts = models.vqvae.parts(model)

        def predict(self, inputs, signature):
            if signature == "prior":
                return {"code_logits": self.parts.prior(inputs)["code_logits"].numpy()}
            return {"generated": self.parts.decoder(self.parts.lookup(inputs["codes"])["quantized"])["generated"]}

    noise = GENERATOR.normal(size=(1500, 4)).astype("float32")
    codes = coded.drawn(Whole(), noise, None)
    logits = Whole.parts.prior({"codes": np.zeros((1, 4), "int32")})["code_logits"][0, 0].numpy()
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(np.bincount(codes[:, 0], minlength=6) / 1500, expected, atol=0.05)
    ends = np.cumsum(expected)
    np.testing.assert_array_equal(codes[:, 0], (ends < norm.cdf(noise[:, 0])[:, None]).sum(1).clip(max=5))
    few = {"noise": noise[:50]}
    made = tf.function(lambda: coded.in_graph(model, None)({"noise": tf.constant(few["noise"])}))()
    np.testing.assert_allclose(made, coded.answer(Whole(), few)["generated"], atol=1e-2)


def test_a_recipe_has_a_code_for_each_number_of_noise():
    recipe = Recipe.model_validate({
        "name": "v", "model": {"builder": "vqvae"}, "task": {"image_generation": {"judge": "a.keras", "codes": True}},
        "data": {"source": "digits", "image": {"size": 8, "channels": 1}, "noise": {"size": 4}}})
    assert recipe.data.feature("codes", recipe.task.inputs["codes"]).size == 4
    assert recipe.train.loss.entry_name == "quantized"
