"""Sound files as samples: what is read, what is converted, and what is refused."""
import io

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.features import audio_file
from pipelines.features.audio import Audio, notes
from pipelines.features.feature import Field, Learnt

NOTHING = Learnt()


def file_of(samples, rate=16_000, kind="WAV", subtype=None):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def tone(rate, seconds=0.5, hertz=440.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def read(feature, content):
    return feature.load(tf.constant(content), NOTHING).numpy()


def test_samples_are_those_of_the_file_and_silence_follows():
    whole = np.round(tone(16_000) * 32768).astype("int16")
    samples = read(Audio(seconds=1), file_of(whole))
    assert samples.shape == (16_000,) and samples.dtype == np.float32
    np.testing.assert_array_equal(samples[:8000], whole / 32768)
    assert not samples[8000:].any()


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_another_rate_is_converted(rate):
    samples = read(Audio(seconds=0.5), file_of(tone(rate), rate))
    inside = slice(400, -400)  # the filter rings where the sound begins and ends
    np.testing.assert_allclose(samples[inside], tone(16_000)[inside], atol=0.002)


def test_stereo_is_averaged():
    stereo = np.stack([tone(16_000), -0.5 * tone(16_000)], axis=1)
    np.testing.assert_allclose(read(Audio(seconds=0.5), file_of(stereo)), 0.25 * tone(16_000), atol=1e-4)


@pytest.mark.parametrize(("kind", "tolerance"), [("FLAC", 1e-4), ("OGG", 0.05), ("AIFF", 1e-4)])
def test_other_formats_are_read(kind, tolerance):
    np.testing.assert_allclose(read(Audio(seconds=0.5), file_of(tone(16_000), kind=kind)), tone(16_000), atol=tolerance)


@pytest.mark.parametrize(("part", "first"), [("start", 0), ("middle", 4000)])
def test_of_a_longer_recording_a_part_is_taken(part, first):
    whole = np.arange(16_000, dtype="int16")
    np.testing.assert_array_equal(read(Audio(seconds=0.5, part=part), file_of(whole)) * 32768,
                                  whole[first:first + 8000])


@pytest.mark.parametrize("feature", [Audio(seconds=0.7), Audio(seconds=0.25, part="middle")])
def test_a_server_decodes_what_training_saw(feature):
    samples = read(feature, file_of(tone(22_050), 22_050))
    kind, content = feature.encode(samples)
    assert kind == "wav"
    np.testing.assert_array_equal(feature.decode(tf.constant(content), NOTHING).numpy(), samples)
    longer = file_of(np.stack([tone(16_000), tone(16_000)], axis=1))
    np.testing.assert_array_equal(feature.decode(tf.constant(longer), NOTHING).numpy(), read(feature, longer))


def test_a_server_refuses_another_rate():
    with pytest.raises(tf.errors.InvalidArgumentError, match="the model takes WAV files of 16000 Hz"):
        Audio().decode(tf.constant(file_of(tone(8000), 8000)), NOTHING)


def test_silence_is_read_and_clipping_stays():
    assert not read(Audio(), file_of(np.zeros(100))).any()
    loud = read(Audio(seconds=0.5), file_of(3 * tone(16_000), subtype="FLOAT"))
    assert loud.max() == 1 - 1 / 32768 and loud.min() == -1
    properties = Audio(seconds=0.5).properties(np.stack([loud, np.zeros_like(loud)]))
    assert properties["clipped"][0] > 0.3 and properties["clipped"][1] == 0
    assert properties["loudness"][1] == pytest.approx(-100)


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "empty file"), (b"RIFF and no more", "not a WAV, FLAC, OGG, MP3, AIFF or AU file, or truncated or damaged"),
    (file_of(np.zeros(0)), "has no samples"),
    (file_of(np.array([0, np.nan, 0]), subtype="FLOAT"), "has a sample that is infinite or not a number (NaN)"),
    (file_of(np.array([0, np.inf, 0]), subtype="FLOAT"), "has a sample that is infinite or not a number (NaN)"),
    (file_of(np.zeros(4000 * 1000, "int16"), 1000), "4,000 seconds long, and 3,600 are read at most: cut it into "
                                                    "pieces")],
    ids=["empty", "no sound", "0 samples", "nan", "infinite", "too long"])
def test_what_cannot_be_read_has_a_reason(content, reason, tmp_path):
    assert Audio().fault(content, NOTHING) == reason
    (tmp_path / "one.wav").write_bytes(content)
    with pytest.raises(UserError, match=r"one\.wav: "):
        Audio().from_file(tmp_path / "one.wav", None)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no\.wav: there is no such recording"):
        Audio().from_file(tmp_path / "no.wav", None)


def test_conversions_are_said():
    contents = [file_of(tone(8000, 0.5), 8000), file_of(tone(16_000, 2.0)),
                file_of(np.stack([tone(16_000, 1.0)] * 2, axis=1))]
    learnt = Audio(seconds=1).learn(Field(kind="bytes"), contents)
    assert notes("audio", {"audio": learnt}) == [
        "1 training recordings resampled from 8,000 to 16,000 Hz",
        "the channels of 1 training recordings averaged to one",
        "training recordings last 0.5 to 2.0 seconds, half of them 1.0 or less; of what is longer 1 seconds are taken"]


def test_endings_say_what_is_a_recording(tmp_path):
    names = ["a.wav", "b.FLAC", "c.m4a", "d.txt"]
    assert [audio_file.is_recording(tmp_path / name) for name in names] == [True, True, True, False]


def test_is_drawn(axes):
    Audio().draw(axes, np.zeros(16_000, "float32"), NOTHING)
