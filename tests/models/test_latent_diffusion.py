"""Latent diffusion: its layers, its parts, and the autoencoder that it takes over."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models import latent_diffusion
from models.text_encoder import encoded_text

GENERATOR = np.random.default_rng(0)
SMALL = {"width": 4, "groups": 2, "heads": 2, "text_units": 8, "text_depth": 1, "autoencoder_width": 4}
AT = {"input_shape": (12, 12, 1), "noise_shape": (3, 3, 2), "length": 5, "vocabulary": 9}


def small(**changes):
    return models.build("latent_diffusion", **{**AT, **SMALL, **changes})


def convolution(kernel, inputs, outputs):
    return (kernel * kernel * inputs + 1) * outputs


def residual(inputs, outputs, step):
    changed = convolution(1, inputs, outputs) if inputs != outputs else 0
    return (2 * inputs + convolution(3, inputs, outputs) + (step + 1) * outputs + 2 * outputs
            + convolution(3, outputs, outputs) + changed)


def look(width, text):
    """Return the parameters of what looks at a text: 4 normalizations in a Transformer block, and one before it."""
    of_itself, of_text = 4 * (width + 1) * width, 2 * (width + 1) * width + 2 * (text + 1) * width
    forward = (width + 1) * 2 * width + (2 * width + 1) * width
    return 5 * 2 * width + of_itself + of_text + forward + (width + 1) * width


def count(channels, numbers, length, vocabulary, width, text, depth, inner):
    """Return the parameters, layer by layer, for multipliers (1, 2) and one residual block of each size."""
    step, wide = 4 * width, 2 * width
    vector = (width + 1) * step + (step + 1) * step + text * step
    down = (convolution(3, numbers, width) + residual(width, width, step) + convolution(3, width, width)
            + residual(width, wide, step))
    up = (2 * residual(wide, wide, step) + residual(2 * wide, wide, step) + residual(wide + width, wide, step)
          + convolution(3, wide, wide) + residual(wide + width, width, step) + residual(2 * width, width, step))
    looks = 3 * look(width, text) + 4 * look(wide, text)
    block = 2 * 2 * text + 4 * (text + 1) * text + (text + 1) * 4 * text + (4 * text + 1) * text
    of_text = (vocabulary + length) * text + depth * block + 2 * text
    encoder = (convolution(3, channels, inner) + convolution(3, inner, 2 * inner) + convolution(3, 2 * inner, 2 * inner)
               + convolution(1, 2 * inner, numbers) + 2 * numbers)
    decoder = (convolution(3, numbers, 2 * inner) + convolution(3, 2 * inner, inner) + convolution(3, inner, inner)
               + convolution(3, inner, channels))
    end = 2 * width + convolution(3, width, numbers)
    return vector + down + up + looks + end + of_text, encoder + decoder


@pytest.mark.parametrize("at", [(1, 2, 5, 9, 4, 8, 1, 4), (1, 4, 8, 32, 64, 64, 2, 32)])
def test_parameters_are_those_of_its_layers_and_the_autoencoder_does_not_learn(at):
    channels, numbers, length, vocabulary, width = at[:5]
    side = 12 if width == 4 else 28
    model = models.build("latent_diffusion", input_shape=(side, side, channels), length=length, vocabulary=vocabulary,
                         noise_shape=(side // 4, side // 4, numbers), **(SMALL if width == 4 else {}))
    learnt, kept = count(*at)
    assert sum(int(np.prod(one.shape)) for one in model.trainable_variables) == learnt
    assert model.count_params() == learnt + kept


@pytest.fixture(scope="module")
def model():
    """A model whose weights say something: some begin as zeros."""
    model = small()
    for weight in model.trainable_variables:
        weight.assign(GENERATOR.normal(0, 0.3, weight.shape))
    return model


def test_parts_are_the_models(model):
    inputs = {"image": GENERATOR.integers(0, 256, (3, 12, 12, 1)).astype("float32"),
              "noise": GENERATOR.normal(size=(3, 3, 3, 2)).astype("float32"),
              "step": np.array([1, 20, 50], "float32"),
              "tokens": np.array([[2, 3, 4, 0, 0], [5, 0, 0, 0, 0], [0, 0, 0, 0, 0]], "int32")}
    whole, parts = model(inputs), latent_diffusion.parts(model)
    condition = parts.text(inputs["tokens"])["condition"]
    noisy = [tf.constant(inputs[name]) for name in ("noise", "step")]
    said = {"mean": parts.encoder(inputs["image"])["mean"], "generated": parts.decoder(inputs["noise"])["generated"],
            "condition": condition, "denoised": parts.denoiser([*noisy, condition])["denoised"]}
    for name, values in said.items():
        np.testing.assert_allclose(values, whole[name], atol=1e-4)
    asked = {name: inputs[name] for name in ("noise", "step", "tokens")}
    np.testing.assert_allclose(parts.network(asked)["denoised"], whole["denoised"], atol=1e-5)
    other = parts.network({**asked, "tokens": np.roll(inputs["tokens"], 1, axis=0)})["denoised"]
    assert np.abs(other - whole["denoised"]).max() > 1e-3, "the text is seen"


def test_of_a_text_without_tokens_all_is_zero_and_padding_is_not_seen(model):
    text = latent_diffusion.parts(model).text
    said = np.array(text(np.array([[0, 0, 0, 0, 0], [3, 4, 0, 0, 0]]))["condition"])
    assert np.abs(said[0]).max() == 0 and np.abs(said[1, 2:]).max() == 0
    tokens = keras.Input((2,), dtype="int32")
    shorter = keras.Model(tokens, encoded_text(tokens, 9, 8, 2, 1))
    shorter.set_weights([value[:2] if value.shape == (5, 8) else value for value in text.get_weights()])
    np.testing.assert_allclose(said[1, :2], np.array(shorter(np.array([[3, 4]])))[0], atol=1e-4)


def saved(path, width):
    """Return an autoencoder with weights of its own, and its file."""
    model = models.build("autoencoder", input_shape=(12, 12, 1), noise_shape=(3, 3, 2), classes=0, width=width)
    model.get_layer("mean").moving_mean.assign([0.5, -0.5])
    model.save(path)
    return model


def test_it_makes_the_latents_and_the_pictures_of_the_autoencoder_that_it_takes_over(tmp_path):
    known, model = saved(tmp_path / "autoencoder.keras", 4), small()
    names = latent_diffusion.load_autoencoder(model, tmp_path / "autoencoder.keras")
    assert len(names) == 9 and all(not model.get_layer(name).trainable for name in names)
    model.save(tmp_path / "model.keras")  # as a training does
    image = GENERATOR.integers(0, 256, (2, 12, 12, 1)).astype("float32")
    noise = GENERATOR.normal(size=(2, 3, 3, 2)).astype("float32")
    whole, (encoder, decoder) = known({"image": image, "noise": noise}), latent_diffusion.halves(model)
    np.testing.assert_allclose(encoder(image)["mean"], whole["mean"], atol=1e-5)
    np.testing.assert_allclose(decoder(noise)["generated"], whole["generated"], atol=1e-3)


def test_an_autoencoder_that_does_not_fit_is_named(model, tmp_path):
    saved(tmp_path / "wide.keras", 8)
    image = keras.Input((12, 12, 1), name="image")
    keras.Model(image, keras.layers.Flatten()(image), name="flat").save(tmp_path / "flat.keras")
    (tmp_path / "no.keras").write_text("no")
    for name, message in (("wide", r"of another size: it has weights .* give model\.autoencoder_width"),
                          ("flat", "is a flat; give a model of builder autoencoder"), ("no", "cannot be read")):
        with pytest.raises(ValueError, match=message):
            latent_diffusion.load_autoencoder(model, tmp_path / f"{name}.keras")


@pytest.mark.parametrize(("changes", "message"), [
    ({"noise_shape": (12, 12, 1)}, r"set data.noise.size to \[3, 3, 4\]"),
    ({"width": 6, "heads": 4}, "6 units do not divide among 4 heads; give multiples of 4"),
    ({"width": 3}, "3 filters are no multiple of 2 groups"), ({"text_units": 7}, "7 units do not divide")])
def test_what_it_cannot_be_made_for_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)
