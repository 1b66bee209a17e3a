"""The front end against librosa, which computes it another way."""
import keras
import librosa
import numpy as np
import pytest

import models
from models import mel
from models.front_end import FrontEnd
from pipelines.features import audio_file
from tests.conftest import ROOT

RATE = 16_000


def sounds():
    """Return a chirp, brown noise, noise that comes and goes, and silence, float32 (4, 16000)."""
    generator = np.random.default_rng(0)
    seconds = np.arange(RATE) / RATE
    chirp = np.sin(2 * np.pi * (100 + 3000 * seconds) * seconds) * 0.8
    brown = np.cumsum(generator.normal(size=RATE)) * 0.002
    gated = generator.normal(size=RATE) * 0.3 * (np.sin(2 * np.pi * 4 * seconds) > 0)
    return np.stack([chirp, brown, gated, np.zeros(RATE)]).astype("float32")


def of(sound, **settings):
    samples = keras.Input((sound.shape[-1],))
    return np.asarray(keras.Model(samples, FrontEnd(**settings).of(samples, RATE))(sound))


def by_librosa(sound, *, fft, frame, hop, mels, lowest, mfcc=None):
    """Librosa's frames are as long as its transform, with the window in their middle: so the sound is padded."""
    padded = np.pad(sound, (fft - frame) // 2)
    power = librosa.feature.melspectrogram(y=padded, sr=RATE, n_fft=fft, hop_length=hop, win_length=frame, center=False,
                                           n_mels=mels, fmin=lowest)
    bands = np.log(power + 1e-6)
    return (bands if mfcc is None else librosa.feature.mfcc(S=bands, n_mfcc=mfcc)).T


@pytest.mark.parametrize(("settings", "expected"), [
    ({}, {"fft": 512, "frame": 400, "hop": 160, "mels": 40, "lowest": 20}),
    ({"window": 0.04, "hop": 0.02, "mfcc": 10}, {"fft": 1024, "frame": 640, "hop": 320, "mels": 40, "lowest": 20,
                                                 "mfcc": 10}),
    ({"fft": 400, "mels": 20, "lowest": 100}, {"fft": 400, "frame": 400, "hop": 160, "mels": 20, "lowest": 100})],
    ids=["log-mel", "mfcc", "a transform of 400"])
@pytest.mark.parametrize("form", ["rfft", "convolution"])
def test_is_what_librosa_computes(settings, expected, form):
    if form == "rfft" and settings.get("fft") == 400:
        with pytest.raises(ValueError, match="RFFT2D takes powers of two, and fft is 400; use convolution"):
            of(sounds(), form=form, **settings)
        return
    for ours, sound in zip(of(sounds(), form=form, **settings), sounds(), strict=True):
        theirs = by_librosa(sound, **expected)
        assert ours.shape == theirs.shape
        assert abs(ours - theirs).max() < 1e-3


def test_the_form_follows_from_the_transform_where_it_is_not_given():
    samples = keras.Input((RATE,))
    forms = [keras.Model(samples, FrontEnd(fft=fft).of(samples, RATE)).layers[-1].form for fft in (512, 400)]
    assert forms == ["rfft", "convolution"]


def test_centred_bands_do_not_know_how_loud_it_was():
    sound = sounds()[:2] + 0.1 * np.random.default_rng(1).normal(size=(2, RATE)).astype("float32")
    np.testing.assert_allclose(of(sound, centred=True), of(sound * 0.5, centred=True), atol=0.01)
    np.testing.assert_allclose(of(sound, centred=True).mean(axis=1), 0, atol=1e-5)


def test_centred_bands_do_not_know_how_long_the_silence_behind_is():
    sound = sounds()[1:2, :8000]
    alone, followed = (of(one, centred=True) for one in (sound, np.pad(sound, ((0, 0), (0, 8000)))))
    np.testing.assert_allclose(followed[:, :alone.shape[1]], alone, atol=0.2)  # a frame or two have both
    assert not followed[:, alone.shape[1] + 3:].any()


def test_a_training_in_16_bits_leaves_the_front_end_exact():
    exact = of(sounds())
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        np.testing.assert_array_equal(of(sounds()), exact)
    finally:
        keras.config.set_dtype_policy("float32")


def test_silence_is_a_number():
    silent = np.zeros((1, RATE), "float32")
    assert abs(of(silent, centred=True)).max() < 1e-5
    np.testing.assert_allclose(of(silent), np.log(1e-6), rtol=1e-6)


@pytest.mark.parametrize(("settings", "reason"), [
    ({"window": 0.99}, "a frame has 15840 samples, and the sound only 800"),
    ({"fft": 256}, "front.fft: 256 is less than the 400 samples of a frame"),
    ({"highest": 9000}, "sound of 16,000 samples a second has nothing above 8000 Hz")])
def test_what_cannot_be_computed_is_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        FrontEnd(**settings).of(keras.Input((800,)), RATE)


@pytest.mark.parametrize(("settings", "reason"), [
    ({"mfcc": 50}, "50 coefficients cannot be made of 40 mels"),
    ({"highest": 10, "lowest": 20}, "the bands end at 10 Hz, which is not above 20")])
def test_settings_that_contradict_each_other_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        models.build("ds_cnn_audio", samples=RATE, rate=RATE, classes=3, front=settings)


def test_filters_and_cosines_are_librosas():
    np.testing.assert_allclose(mel.filters(RATE, 512, 40, 20.0, 8000.0),
                               librosa.filters.mel(sr=RATE, n_fft=512, n_mels=40, fmin=20).T, atol=1e-7)
    np.testing.assert_allclose(mel.cosines(40, 40) @ mel.cosines(40, 40).T, np.eye(40), atol=1e-6)


def test_a_model_with_a_front_end_is_saved_and_loaded(tmp_path):
    model = models.build("ds_cnn_audio", samples=RATE, rate=RATE, classes=3, filters=4)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(loaded(sounds())), np.asarray(model(sounds())))


VOICES = ROOT / "data" / "speech" / "unpacked" / "usr" / "share" / "asterisk" / "sounds"


@pytest.mark.skipif(not VOICES.is_dir(), reason="the voices are not here; make data-speech brings them")
@pytest.mark.parametrize("form", ["rfft", "convolution"])
def test_is_what_librosa_computes_of_people(form):
    paths = sorted(VOICES.glob("*/vm-*.wav"))[::25]
    assert len({path.parent for path in paths}) >= 4
    for path in paths:
        sound = audio_file.samples(path.read_bytes(), RATE)
        theirs = by_librosa(sound, fft=512, frame=400, hop=160, mels=40, lowest=20)
        assert abs(of(sound[None], form=form)[0] - theirs).max() < 1e-3
