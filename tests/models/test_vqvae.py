"""Autoencoders with a codebook: their sizes, and a prior that does not look ahead."""
import numpy as np
import pytest

import models
from models import vqvae

SMALL = {"input_shape": (8, 8, 1), "noise_shape": (4,), "width": 4, "codes": 6, "size": 3, "prior_width": 5}


def test_parameters_are_those_of_its_layers():
    model = models.build("vqvae", input_shape=(28, 28, 1), noise_shape=(49,), classes=0)
    encoder = 10 * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64 + 65 * 16
    decoder = (9 * 16 + 1) * 64 + (9 * 64 + 1) * 32 + (9 * 32 + 1) * 32 + 2 * (9 * 32 + 1)
    prior = 64 * 64 + 6 * (3 * 64 + 1) * 64 + 65 * 64
    assert model.count_params() == encoder + 64 * 16 + decoder + prior == 177_746


@pytest.mark.parametrize("classes", [0, 2])
def test_the_prior_sees_the_codes_before_and_no_other(classes):
    prior = vqvae.parts(models.build("vqvae", **SMALL, classes=classes)).prior
    condition = {"condition": np.eye(2, dtype="float32")[[0]]} if classes else {}
    codes = np.array([[1, 2, 3, 4]], np.int32)
    whole = np.asarray(prior({"codes": codes, **condition})["code_logits"])
    assert whole.shape == (1, 4, 6)
    for place in range(4):
        changed = codes.copy()
        changed[0, place] = 5
        other = np.asarray(prior({"codes": changed, **condition})["code_logits"])
        np.testing.assert_allclose(other[0, :place + 1], whole[0, :place + 1], atol=1e-6)
        assert place == 3 or np.abs(other[0, place + 1] - whole[0, place + 1]).max() > 1e-4


def test_the_parts_are_the_models():
    model = models.build("vqvae", **SMALL, classes=0)
    parts = vqvae.parts(model)
    image = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1)).astype("float32")
    codes = np.array([[0, 1, 2, 3], [5, 5, 0, 1]], np.int32)
    whole = model({"image": image, "codes": codes})
    np.testing.assert_allclose(parts.encoder(image)["vectors"], whole["vectors"], atol=1e-6)
    vectors = parts.lookup(codes)["quantized"]
    np.testing.assert_allclose(vectors, np.asarray(model.get_layer("codebook").embeddings)[codes].reshape(2, 2, 2, 3))
    np.testing.assert_allclose(parts.decoder(vectors)["generated"], whole["generated"], atol=1e-3)


@pytest.mark.parametrize(("shape", "noise", "message"), [
    ((28, 28, 1), (16,), "set data.noise.size to 49"), ((48, 48, 1), (144,), "set data.image.size to 44 or less"),
    ((30, 28, 1), (49,), "do not halve so often")])
def test_what_has_no_codes_is_refused(shape, noise, message):
    with pytest.raises(ValueError, match=message):
        models.build("vqvae", input_shape=shape, noise_shape=noise, classes=0)
