"""The builders of models that hear: their sizes against closed forms, and what they refuse."""
import keras
import numpy as np
import pytest

import models
from models.positions import sines

SMALL = {"ds_cnn_audio": {"filters": 8, "blocks_after": 1}, "bc_resnet": {}, "crnn": {"units": (4,), "dense": 8},
         "wav2letter": {"filters": 8, "wide": 8, "depth": 1, "first": 5, "last": 3, "normalized": True},
         "deepspeech2": {"filters": 4, "units": (8,)}, "conformer": {"depth": 1, "units": 16, "heads": 2}}
#: Frames for a second: those of the spectrogram are 98 of 10 ms.
FRAMES = {"wav2letter": 49, "deepspeech2": 49, "conformer": 25}


def test_wav2letter_has_its_convolutions():
    assert models.build("wav2letter", samples=4000, rate=8000, classes=9, filters=5, wide=6, depth=2, first=4, kernel=3,
                        last=2).count_params() == (4 * 13 * 5 + 5) + 2 * (3 * 5 * 5 + 5) + (2 * 5 * 6 + 6) + (
                            6 * 6 + 6) + (6 * 9 + 9)
    paper = 48 * 13 * 250 + 250 + 7 * (7 * 250 * 250 + 250) + 32 * 250 * 2000 + 2000 + 2000 * 2000 + 2000
    assert paper + 2000 * 30 + 30 == 23_284_530


def lstm(inputs, units):
    return 4 * (units * (inputs + units) + units)


def test_deepspeech2_has_its_convolutions_and_both_directions():
    convolutions = 11 * 41 * 32 + 4 * 32 + 11 * 21 * 32 * 32 + 4 * 32
    bands = 64 // 4 * 32
    expected = convolutions + 4 * bands + 2 * lstm(bands, 128) + 4 * 256 + 2 * lstm(256, 128) + 4 * 256 + 256 * 30 + 30
    assert expected == 1_313_662 == models.build("deepspeech2", samples=16_000, rate=16_000, classes=30).count_params()


def test_a_conformer_has_its_modules():
    units = 144
    norm, square = 2 * units, units * units + units
    feed_forward = norm + 4 * units * units + 4 * units + 4 * units * units + units
    convolution = norm + 2 * square + 31 * units + units + 4 * units + square
    block = 2 * feed_forward + norm + 4 * square + convolution + norm
    front = 9 * units + units + 9 * units * units + units + 20 * units * units + units
    assert front + 4 * block + units * 30 + 30 == 2_551_422


@pytest.mark.parametrize("name", SMALL)
def test_takes_samples_and_gives_finite_logits(name):
    keras.utils.set_random_seed(0)
    model = models.build(name, samples=16_000, rate=16_000, classes=7, **SMALL[name])
    sounds = 0.1 * np.random.default_rng(0).normal(size=(2, 16_000)).astype("float32")
    logits = np.asarray(model(np.concatenate([sounds, np.zeros((1, 16_000), "float32")]), training=False))
    assert logits.shape == ((3, FRAMES[name], 7) if name in FRAMES else (3, 7))
    assert np.isfinite(logits).all() and logits[:2].std() > 0
    assert list(models.named_inputs(model)) == ["audio"] and list(models.named_outputs(model)) == ["logits"]


@pytest.mark.parametrize(("name", "settings", "reason"), [
    ("bc_resnet", {"front": {"mels": 64}}, "front.mels is 64; give a multiple of 20"),
    ("conformer", {"units": 30, "heads": 4}, "30 units do not divide among 4 heads"),
    ("ds_cnn_audio", {"front": {"window": 0.5, "fft": 512}}, "front.fft: 512 is less than the 8000 samples"),
    ("crnn", {"front": {"mel": 40}}, "front.mel: Extra inputs")])
def test_settings_that_do_not_fit_are_refused(name, settings, reason):
    with pytest.raises(ValueError, match=reason):
        models.build(name, samples=16_000, rate=16_000, classes=7, **settings)


def test_the_width_of_a_bc_resnet_is_the_papers_number():
    def trained(width):
        with keras.StatelessScope(initialize_variables=False):
            model = models.build("bc_resnet", samples=16_000, rate=16_000, classes=12, width=width)
            return sum(int(np.prod(one.shape)) for one in model.trainable_variables)

    assert round(trained(3.0) / 1000) == 54 and round(trained(8.0) / 1000) == 321  # 54.2 and 321 k in the paper


def test_positions_are_told_apart():
    positions = sines(50, 16)[0]
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    assert (distances[~np.eye(50, dtype=bool)] > 0.1).all()
    np.testing.assert_allclose((positions**2).sum(axis=1), 8, rtol=1e-5)
