"""The front end of networks that hear: from samples to a picture of the sound, inside the model."""
from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from etils import epy
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models import mel
from models.registry import own_layer

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf

Form = Literal["rfft", "convolution"]
#: Added to a power before its logarithm: what silence counts as.
FLOOR = 1e-6
#: How the layer is called in a model, by which exporters know what stays in real numbers.
NAME = "front_end"


class FrontEnd(BaseModel):
    """Log-mel spectrograms, or their cosine transform, MFCCs.

    Args:
        window: seconds of sound in a frame, under a Hann window.
        hop: seconds from the beginning of a frame to that of the next.
        fft: samples of the Fourier transform, a frame and zeros behind it; the power of two from the frame's on where
            not given.
        mels: bands.
        lowest, highest: in Hz, where the bands begin and end; half the rate where not given.
        mfcc: coefficients of the cosine transform of the bands; none for log-mel.
        centred: each band's mean over the frames that are not silent is taken off, so that neither how loud it is nor
            the microphone's colour counts, nor how long the silence behind it; silent frames are 0. Good for speech; of
            steady sounds nothing is left.
        form: how the transform is computed: by RFFT2D, which LiteRT has for powers of two, or by a convolution, which
            TensorFlow Lite Micro has too; by what `fft` is where not given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    window: float = Field(0.025, gt=0, le=1)
    hop: float = Field(0.01, gt=0, le=1)
    fft: int | None = Field(None, ge=2)
    mels: int = Field(40, ge=1, le=512)
    lowest: float = Field(20.0, ge=0)
    highest: float | None = Field(None, gt=0)
    mfcc: int | None = Field(None, ge=1)
    centred: bool = False
    form: Form | None = None

    @model_validator(mode="after")
    def there_are_bands_enough(self) -> FrontEnd:
        if self.mfcc is not None and self.mfcc > self.mels:
            raise ValueError(f"{self.mfcc} coefficients cannot be made of {self.mels} mels; give fewer, or more mels")
        if self.highest is not None and self.highest <= self.lowest:
            raise ValueError(f"the bands end at {self.highest:g} Hz, which is not above {self.lowest:g}")
        return self

    def of(self, samples: Any, rate: int) -> Any:
        """Return what the network sees of sound: float32 (batch, frames, mels or coefficients).

        Args:
            samples: (batch, samples), -1..1.
            rate: samples a second.

        Raises:
            ValueError: the sound is shorter than a frame, the transform than a frame, or the bands end above half the
                rate.
        """
        frame, hop = round(self.window * rate), max(1, round(self.hop * rate))
        fft = self.fft or 2 ** math.ceil(math.log2(frame))
        highest = self.highest or rate / 2
        if samples.shape[1] < frame:
            raise ValueError(f"a frame has {frame} samples, and the sound only {samples.shape[1]}: give data.audio "
                             "more seconds, or the front end a shorter window")
        if fft < frame:
            raise ValueError(f"front.fft: {fft} is less than the {frame} samples of a frame")
        if highest > rate / 2:
            raise ValueError(f"front.highest: sound of {rate:,} samples a second has nothing above {rate / 2:g} Hz")
        form = self.form or ("rfft" if math.log2(fft).is_integer() else "convolution")
        if form == "rfft" and not math.log2(fft).is_integer():
            raise ValueError(f"front.form: LiteRT's RFFT2D takes powers of two, and fft is {fft}; use convolution")
        return spectrogram_class()(
            rate=rate, frame=frame, hop=hop, fft=fft, mels=self.mels, lowest=self.lowest, highest=highest,
            mfcc=self.mfcc or 0, centred=self.centred, form=form, name=NAME,
            dtype="float32")(samples)  # a training in 16 bits would lose what integers do


class _Inlined:
    """Writes the settings of a front end where a schema names them, and not among its definitions."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        return handler.resolve_ref_schema(handler(schema))


#: A front end among the settings of a builder.
Front = Annotated[FrontEnd, _Inlined()]


def as_sequence(samples: Any, front: FrontEnd | Mapping[str, Any], rate: int) -> Any:
    """Return a spectrogram as a sequence, (batch, frames, bands); the arguments are those of `as_image`. Raises
    ValueError, see `FrontEnd`."""
    return FrontEnd.model_validate(front).of(samples, rate)


def as_image(samples: Any, front: FrontEnd | Mapping[str, Any], rate: int) -> Any:
    """Return a spectrogram as an image of one channel, (batch, frames, bands, 1). Raises ValueError, see `FrontEnd`.

    Args:
        samples: (batch, samples), -1..1.
        front: the settings, or the same as a mapping, as recipes have them.
        rate: samples a second.
    """
    seen = as_sequence(samples, front, rate)
    return keras.layers.Reshape((*seen.shape[1:], 1))(seen)


@own_layer
@functools.cache
def spectrogram_class() -> type:
    """Return the layer that makes spectrograms, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class Spectrogram(keras.layers.Layer):
        """log(mel + 1e-6) of the power of overlapping frames, or the orthonormal cosine transform of that.

        The filters are Slaney's, as librosa has them: frame t begins at sample `hop` t. It has no weights.

        Args:
            rate: samples a second.
            frame, hop, fft: in samples, see `FrontEnd`.
            mels, lowest, highest, mfcc, centred, form: see `FrontEnd`; mfcc is 0 where there are none.
        """

        def __init__(self, *, rate: int, frame: int, hop: int, fft: int, mels: int, lowest: float, highest: float,
                     mfcc: int, centred: bool, form: Form, **others: Any):
            super().__init__(**others)
            self.settings: dict[str, Any] = {
                "rate": rate, "frame": frame, "hop": hop, "fft": fft, "mels": mels, "lowest": lowest,
                "highest": highest, "mfcc": mfcc, "centred": centred, "form": form}
            self.frame, self.hop, self.fft, self.form, self.centred = frame, hop, fft, form, centred
            self.mels, self.mfcc = mels, mfcc
            # Hann, periodic
            self.hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)).astype("float32")
            self.filters = mel.filters(rate, fft, mels, lowest, highest)
            self.cosines = mel.cosines(mels, mfcc) if mfcc else None

        def call(self, samples: Any) -> Any:
            """Return (batch, frames, bands) of samples (batch, samples)."""
            power = self._by_rfft(samples) if self.form == "rfft" else self._by_convolution(samples)
            power = tf.matmul(power, self.filters)
            bands = tf.math.log(power + FLOOR)
            if self.cosines is not None:
                bands = tf.matmul(bands, self.cosines)
            if not self.centred:
                return bands
            # 0 of frames as quiet as the floor, 1 of those twice as loud and more: no step, which rounding would cross
            heard = tf.clip_by_value(tf.reduce_max(power, axis=2, keepdims=True) / FLOOR - 1.0, 0.0, 1.0)
            frames = tf.maximum(tf.reduce_sum(heard, axis=1, keepdims=True), 1.0)
            return heard * (bands - tf.reduce_sum(heard * bands, axis=1, keepdims=True) / frames)

        def _by_rfft(self, samples: Any) -> Any:
            frames = tf.signal.frame(samples, self.frame, self.hop) * self.hann
            return tf.square(tf.abs(tf.signal.rfft(frames, [self.fft])))

        def _by_convolution(self, samples: Any) -> Any:
            bins = self.fft // 2 + 1
            angles = 2 * np.pi / self.fft * np.arange(self.frame)[:, None] * np.arange(bins)
            kernel = np.concatenate([np.cos(angles), np.sin(angles)], axis=1) * self.hann[:, None]
            parts = tf.nn.conv1d(samples[..., None], kernel[:, None].astype("float32"), self.hop, "VALID")
            return tf.square(parts[..., :bins]) + tf.square(parts[..., bins:])

        def compute_output_shape(self, shape: Any) -> Any:
            frames = None if shape[1] is None else (shape[1] - self.frame) // self.hop + 1
            return (shape[0], frames, self.mfcc or self.mels)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), **self.settings}

    return Spectrogram
