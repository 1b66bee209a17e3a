"""Changes of recordings, each against what it says it does."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines.entries import Entry
from pipelines.ingest.augmentation.augment import augment
from pipelines.ingest.augmentation.augmentation import Augmentation

COUNT, LENGTH, RATE = 6, 8000, 16_000
SEED = tf.constant([7, 3])
NAMES = ("noise", "time_shift", "gain", "speed", "spec_augment", "reverberation")


def tones(hertz=440.0):
    seconds = np.arange(LENGTH) / RATE
    return np.repeat((0.3 * np.sin(2 * np.pi * hertz * seconds))[None], COUNT, axis=0).astype("float32")


def changed(written, samples=None, seed=SEED):
    entry: Entry = Augmentation.read(written)
    samples = tones() if samples is None else samples
    label = tf.one_hot(tf.zeros(COUNT, tf.int32), 2)
    inputs, targets = augment([entry], {"audio": tf.constant(samples)}, {"label": label},
                              {"audio": "waveform", "label": "values"}, seed)
    np.testing.assert_array_equal(targets["label"], label)
    return inputs["audio"].numpy()


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides_and_each_recording_is_changed_by_itself(name):
    written = {name: {"share": 1}} if name == "noise" else name
    first = changed(written)
    np.testing.assert_array_equal(first, changed(written))
    assert not np.array_equal(first, changed(written, seed=SEED + 1))
    assert first.shape == (COUNT, LENGTH) and np.isfinite(first).all() and abs(first).max() <= 1
    assert len({row.tobytes() for row in first}) == COUNT


@pytest.mark.parametrize("name", NAMES)
def test_silence_stays_silent(name):
    assert not changed(name, np.zeros((COUNT, LENGTH), "float32")).any()


@pytest.mark.parametrize("name", NAMES)
def test_examples_without_sound_are_refused(name):
    assert Augmentation.read(name).misfit({"image": "image"}) == f"{name} changes sound, and an example has none"


def test_noise_has_its_ratio():
    samples = tones()
    added = changed({"noise": {"loudest": 20, "quietest": 20, "share": 1}}) - samples
    ratio = 10 * np.log10((samples**2).mean(axis=1) / (added**2).mean(axis=1))
    np.testing.assert_allclose(ratio, 20, atol=0.01)


def test_a_share_of_the_recordings_has_no_noise():
    samples = np.repeat(tones(), 20, axis=0)
    entry = Augmentation.read({"noise": {"share": 0.3}})
    clean = (entry.change(tf.constant(samples), SEED).numpy() == samples).all(axis=1)
    assert 0.5 < clean.mean() < 0.9


def test_noise_that_is_louder_than_it_is_quiet_is_refused():
    with pytest.raises(ValueError, match="the loudest noise is at 40 dB and the quietest at 30"):
        Augmentation.read({"noise": {"loudest": 40}})


def test_a_shift_moves_and_leaves_silence():
    samples = np.repeat(np.arange(1, LENGTH + 1, dtype="float32")[None] / LENGTH, COUNT, axis=0)
    for row in changed({"time_shift": 0.25}, samples):
        kept = row[row > 0]
        assert len(kept) >= 0.75 * LENGTH
        np.testing.assert_allclose(np.diff(kept), 1 / LENGTH, atol=1e-6)


def test_a_gain_is_within_its_decibels():
    gains = 20 * np.log10(abs(changed({"gain": 6})).max(axis=1) / 0.3)
    assert (abs(gains) <= 6.01).all() and gains.std() > 1


def test_speed_moves_the_pitch():
    spectra = abs(np.fft.rfft(changed({"speed": 0.2})))
    hertz = spectra.argmax(axis=1) * RATE / LENGTH
    assert ((hertz >= 440 * 0.79) & (hertz <= 440 * 1.21)).all() and hertz.std() > 10


def test_stretches_are_silent_and_bands_are_gone():
    noise = (0.1 * np.random.default_rng(0).normal(size=(COUNT, LENGTH))).astype("float32")
    silent = (changed({"spec_augment": {"bands": 0, "stretches": 1, "longest": 0.2}}, noise) == 0).mean(axis=1)
    assert (silent <= 0.201).all() and silent.mean() > 0.02
    cut = abs(np.fft.rfft(changed({"spec_augment": {"bands": 1, "stretches": 0, "widest": 0.3}}, noise)))
    gone = (cut < 1e-3 * np.median(cut, axis=1, keepdims=True)).mean(axis=1)
    assert gone.mean() > 0.01 and (gone < 0.9).all()
    kept = cut > 1e-3 * np.median(cut, axis=1, keepdims=True)
    np.testing.assert_allclose(cut[kept], abs(np.fft.rfft(noise))[kept], rtol=0.05, atol=0.05)


def test_a_click_in_a_room_fades_as_fast_as_it_says():
    clicks = np.zeros((COUNT, LENGTH), "float32")
    clicks[:, 100] = 0.5
    heard = changed({"reverberation": {"seconds": 0.2, "loudest": 0.9}}, clicks)
    assert not heard[:, :100].any() or abs(heard[:, :100]).max() < 1e-5
    early, late = (np.sqrt((heard[:, part] ** 2).mean(axis=1)) for part in (slice(110, 500), slice(3300, 3500)))
    assert (late < 0.01 * early.max()).all() and (early > 0).all()
