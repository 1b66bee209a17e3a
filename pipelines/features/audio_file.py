"""Sound files: which there are, and their samples as one channel at the rate that a model takes."""
from __future__ import annotations

import io
import math
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from etils import epy

from pipelines.errors import UserError

with epy.lazy_imports():
    import numpy as np
    import scipy.signal

#: What is read, for people.
READ = "WAV, FLAC, OGG, MP3, AIFF or AU"
SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".snd"}
#: Endings of files that are sound too, and are not read: they are named, not passed over.
NOT_READ = {".aac", ".m4a", ".wma", ".amr", ".webm", ".mka", ".ac3"}
#: The steps of a sample of 16 bits, which are all that samples come in: so a file of 16 bits loses nothing.
STEPS = 32768
#: The longest recording that is read, in seconds at most.
LONGEST = 3600
DAMAGED = "truncated or damaged"


class Header(NamedTuple):
    """What a sound file says of itself.

    Args:
        rate: samples a second.
        channels: 2 of stereo.
        samples: of each channel.
    """

    rate: int
    channels: int
    samples: int

    @property
    def seconds(self) -> float:
        return self.samples / self.rate


def is_recording(path: PurePath) -> bool:
    """Return whether a file, by its ending, is sound, be it of a kind that is read or not."""
    return path.suffix.lower() in SUFFIXES | NOT_READ


def header(content: bytes | Path) -> Header:
    """Return what a file says of itself. Raises ValueError where it cannot be read; the message is the reason.

    Args:
        content: of the file, or where it is.
    """
    if not content:
        raise ValueError("empty file")
    library = _library()
    try:
        with library.SoundFile(io.BytesIO(content) if isinstance(content, bytes) else str(content)) as file:
            return Header(file.samplerate, file.channels, file.frames)
    except library.SoundFileError:
        raise ValueError(f"not a {READ} file, or {DAMAGED}") from None


def samples(content: bytes, rate: int) -> np.ndarray:
    """Return a file's samples, float32 (samples,), -1..1 in steps of 1 / 32768.

    Channels are averaged; sound of another rate is resampled by a polyphase filter (SciPy's resample_poly, a Kaiser
    window of 5). What is louder than full scale is cut off there.

    Args:
        rate: samples a second.

    Raises:
        ValueError: it cannot be read, has no samples, or one that is not a number; the message is the reason.
    """
    described = header(content)
    if described.seconds > LONGEST:
        raise ValueError(f"{described.seconds:,.0f} seconds long, and {LONGEST:,} are read at most: cut it into pieces")
    library = _library()
    try:
        values, own_rate = library.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except library.SoundFileError:
        raise ValueError(DAMAGED) from None
    if not len(values):
        raise ValueError("has no samples")
    if not np.isfinite(values).all():
        raise ValueError("has a sample that is infinite or not a number (NaN)")
    return fitted(values.mean(axis=1), own_rate, rate)


def is_silent(content: bytes) -> bool:
    """Return whether all samples of a file are 0. Raises ValueError where it cannot be read, or has none."""
    return not samples(content, header(content).rate).any()


def fitted(values: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """Return samples of one channel at another rate, rounded to 16 bits, float32 (samples,)."""
    if own_rate != rate:
        divisor = math.gcd(own_rate, rate)
        values = scipy.signal.resample_poly(values.astype("float64"), rate // divisor, own_rate // divisor)
    rounded = np.round(np.clip(values, -1, 1 - 1 / STEPS) * STEPS) / STEPS
    return rounded.astype("float32")


def wav(values: np.ndarray, rate: int) -> bytes:
    """Return samples (samples,), -1..1, as a WAV file of 16 bits."""
    file = io.BytesIO()
    whole = np.clip(np.round(values * STEPS), -STEPS, STEPS - 1).astype("int16")
    _library().write(file, whole, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _library() -> Any:
    """Return soundfile. Raises UserError where it is not installed."""
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise UserError("soundfile, which reads recordings, is not installed; .venv/bin/pip install -e '.[speech]' "
                        "brings it") from error
    return soundfile
