"""From an encoded picture to the model's raw pixels. Ingest, `predict` and the served model all go through here."""
from __future__ import annotations

from typing import Literal

from etils import epy
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from pipelines.entries import Section

with epy.lazy_imports():
    import tensorflow as tf


class ImageSettings(Section):
    """The pictures that the model sees.

    Args:
        size: pixels, one number for a square or [height, width].
        channels: 3 for RGB, 1 for grey. Grey pictures are repeated to three channels, RGB ones averaged to one.
        fit: resize (bilinear, antialiased), or pad (black border, or cut, around the centre).
    """

    size: tuple[int, int] = Field((224, 224))
    channels: Literal[1, 3] = 3
    fit: Literal["resize", "pad"] = "resize"

    @field_validator("size", mode="before")
    @classmethod
    def read_size(cls, given: object) -> object:
        pair = [given, given] if isinstance(given, int) else given
        whole = isinstance(pair, (list, tuple)) and len(pair) == 2 and all(
            isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in pair)
        if not whole:
            raise PydanticCustomError("size", "give whole pixels, for instance 28 or [28, 28]")
        return tuple(pair)  # type: ignore[arg-type]

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.size, self.channels)


def decode(encoded: tf.Tensor, settings: ImageSettings) -> tf.Tensor:
    """The first frame of a JPEG, PNG, BMP or GIF as the model's raw pixels.

    Args:
        encoded: a scalar string, the file's bytes.
        settings: what the model sees.

    Returns:
        uint8 (height, width, channels).
    """
    picture = tf.io.decode_image(encoded, channels=settings.channels if settings.channels == 3 else 0, expand_animations=False)
    return fit(picture, settings)


def fit(picture: tf.Tensor, settings: ImageSettings) -> tf.Tensor:
    """A picture (height, width, any channels) of any size as the model's raw pixels, uint8 (height, width, channels)."""
    picture = _to_channels(picture, settings.channels)
    if picture.shape[:2] != settings.size:
        if settings.fit == "pad":
            picture = tf.image.resize_with_crop_or_pad(picture, *settings.size)
        else:
            resized = tf.image.resize(tf.cast(picture, tf.float32), settings.size, antialias=True)
            picture = tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
    return tf.ensure_shape(tf.cast(picture, tf.uint8), settings.shape)


def _to_channels(picture: tf.Tensor, channels: int) -> tf.Tensor:
    """Drops an alpha channel, and repeats grey or averages colour where the model wants the other."""
    given = tf.shape(picture)[-1]
    if channels == 3:
        return tf.cond(given >= 3, lambda: picture[..., :3], lambda: tf.repeat(picture[..., :1], 3, axis=-1))
    return tf.cond(given >= 3, lambda: tf.image.rgb_to_grayscale(picture[..., :3]), lambda: picture[..., :1])
