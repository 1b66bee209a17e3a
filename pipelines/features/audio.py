"""Sound: from an encoded file to a fixed number of samples at the rate that a model takes."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etils import epy
from pydantic import Field as Setting

from export.signature import Tensor
from pipelines.errors import UserError
from pipelines.features import audio_file
from pipelines.features.feature import Feature, Field, Learnt

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What is learnt: samples a second and of an example; and of the training recordings how many have which rate, how
#: many several channels, and how long they are.
RATE, SAMPLES, RATES, STEREO, SECONDS = "rate", "samples", "rates", "stereo", "seconds"


class Audio(Feature, name="audio", shorthand="seconds"):
    """A recording as raw samples of one channel, float32 -1..1 in steps of 16 bits, always as many.

    Where a recording is shorter, silence follows it; where it is longer, a part is taken.

    Args:
        seconds: of sound that the model is given.
        rate: samples a second. Recordings of another rate are resampled, several channels averaged.
        part: of a longer recording: its start, or its middle.
    """

    role, accepts, encoded = "waveform", ("bytes",), True
    seconds: float = Setting(1.0, gt=0, le=60)
    rate: int = Setting(16_000, ge=1000, le=192_000)
    part: Literal["start", "middle"] = "start"

    @property
    def samples(self) -> int:
        """Return how many samples an example has."""
        return max(1, round(self.seconds * self.rate))

    def learn(self, field: Field, values: Iterable[Any]) -> Learnt:
        headers = list(_headers(values))
        rates = sorted({one.rate for one in headers})
        counted = [float(number) for rate in rates for number in (rate, sum(one.rate == rate for one in headers))]
        seconds = [one.seconds for one in headers]
        return Learnt(statistics={
            RATE: [float(self.rate)], SAMPLES: [float(self.samples)], RATES: counted,
            STEREO: [float(sum(one.channels > 1 for one in headers))],
            SECONDS: [min(seconds), float(np.median(seconds)), max(seconds)] if seconds else []})

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="float32", shape=(self.samples,), role="waveform",
                      meaning=f"samples of one channel at {self.rate} Hz, -1..1; silence behind shorter sound")

    def load(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the samples of a file that soundfile reads."""
        def read(file: Any) -> np.ndarray:
            return self.fitted(audio_file.samples(content(file), self.rate))

        return tf.ensure_shape(tf.numpy_function(read, [value], tf.float32, stateful=False), (self.samples,))

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the samples of a WAV file of 16 bits at the model's rate; TensorFlow reads no other."""
        decoded, rate = tf.audio.decode_wav(value)
        fits = tf.debugging.assert_equal(rate, self.rate, f"the model takes WAV files of {self.rate} Hz")
        with tf.control_dependencies([fits] if fits is not None else []):
            mono = tf.round(tf.reduce_mean(decoded, axis=1) * audio_file.STEPS) / audio_file.STEPS
        length = tf.shape(mono)[0]
        start = tf.maximum(0, length - self.samples) // 2 if self.part == "middle" else 0
        cut = mono[start:start + self.samples]
        return tf.ensure_shape(tf.pad(cut, [[0, self.samples - tf.shape(cut)[0]]]), (self.samples,))

    def fitted(self, samples: np.ndarray) -> np.ndarray:
        """Return as many samples as the model takes: silence behind fewer, a part of more."""
        start = max(0, len(samples) - self.samples) // 2 if self.part == "middle" else 0
        cut = samples[start:start + self.samples]
        return np.pad(cut, (0, self.samples - len(cut)))

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        try:
            audio_file.samples(content(value), self.rate)
        except ValueError as error:
            return str(error)
        return None

    def from_file(self, path: Path, tensor: Tensor) -> np.ndarray:
        """Return a sound file as the model takes it. Raises UserError."""
        try:
            return self.fitted(audio_file.samples(path.read_bytes(), self.rate))
        except FileNotFoundError:
            raise UserError(f"{path}: there is no such recording") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None

    def encode(self, value: np.ndarray) -> tuple[str, bytes]:
        """Return samples as a WAV file of 16 bits, which holds them exactly."""
        return "wav", audio_file.wav(value, self.rate)

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        """Draw samples as a line over their seconds."""
        axes.plot(np.arange(len(value)) / self.rate, value, linewidth=0.4)
        axes.set_ylim(-1, 1)
        axes.tick_params(labelsize=5)

    def properties(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return how loud recordings are in decibels of full scale, the share of samples at full scale, and how often a
        second they cross zero."""
        loudness = 10 * np.log10(np.square(values.astype("float64")).mean(axis=1) + 1e-10)
        crossed = np.count_nonzero(np.diff(np.signbit(values), axis=1), axis=1)
        return {"loudness": loudness, "clipped": (np.abs(values) >= 1 - 1 / audio_file.STEPS).mean(axis=1),
                "zero_crossings": crossed * self.rate / values.shape[1]}


def dimensions(learnt: Learnt) -> dict[str, int]:
    """Return what builders need to know of sound: how many samples there are, and how many a second."""
    return {"samples": int(learnt.statistics[SAMPLES][0]), "rate": int(learnt.statistics[RATE][0])}


def rate_of(learnt: Mapping[str, Learnt]) -> int:
    """Return how many samples a second the sound has among what was learnt; 0 where there is no sound."""
    return next((int(one.statistics[RATE][0]) for one in learnt.values() if SAMPLES in one.statistics), 0)


def notes(name: str, learnt: Mapping[str, Learnt]) -> list[str]:
    """Return what was done to the training recordings of a feature, a line each: resampled, mixed down, cut."""
    known = learnt[name].statistics
    rate, length = int(known[RATE][0]), known[SAMPLES][0] / known[RATE][0]
    lines = [f"{int(count):,} training recordings resampled from {int(own):,} to {rate:,} Hz"
             for own, count in zip(known[RATES][::2], known[RATES][1::2], strict=True) if own != rate]
    if known[STEREO][0]:
        lines.append(f"the channels of {int(known[STEREO][0]):,} training recordings averaged to one")
    if known[SECONDS]:
        shortest, median, longest = known[SECONDS]
        cut = f"; of what is longer {length:g} seconds are taken" if longest > length else ""
        lines.append(f"training recordings last {shortest:.1f} to {longest:.1f} seconds, half of them {median:.1f} or "
                     f"less{cut}")
    return lines


def _headers(values: Iterable[Any]) -> Iterator[audio_file.Header]:
    for value in values:
        yield audio_file.header(content(value))


def content(value: Any) -> bytes:
    """Return the bytes of a raw value."""
    return value if isinstance(value, bytes) else bytes(value.item())  # TensorFlow gives an array when it is eager
