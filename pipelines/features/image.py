"""Images: from an encoded file to a model's raw pixels. Ingest, `predict` and the served model all go through here."""
from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from etils import epy
from pydantic import Field as Setting
from pydantic import field_validator
from pydantic_core import PydanticCustomError

from export.signature import Tensor
from pipelines.entries import Section
from pipelines.errors import UserError
from pipelines.features import image_decoding, image_file
from pipelines.features.feature import Feature, Learnt

with epy.lazy_imports():
    import numpy as np
    import PIL.Image
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Side = Annotated[int, Setting(ge=1)]
#: A size as a recipe writes it, see `whole_pixels`.
Size = Side | tuple[Side, Side]


class Window(Section):
    """The values that a medical image is looked at with: what is below is black, what is above white.

    Args:
        level: the value in the middle, in Hounsfield units for computed tomography: 40 for soft tissue, -600 for lungs.
        width: from black to white: 400 for soft tissue, 1500 for lungs.
    """

    level: float
    width: float = Setting(gt=0)

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the values that are black and white."""
        return self.level - self.width / 2, self.level + self.width / 2


class Image(Feature, name="image", shorthand="size"):
    """The images that the model sees.

    Args:
        size: pixels, one number for a square or [height, width].
        channels: 3 for RGB, 1 for grey. Grey images are repeated to three channels, RGB ones averaged to one.
        fit: resize (bilinear, antialiased), or pad (black border, or cut, around the centre).
        window: the values that the model tells apart, of medical images of 16 bits; see `features.scan`. By default
            those between the 0.5th and the 99.5th percentile of the training images.
    """

    role, accepts, encoded = "image", ("bytes",), True
    size: tuple[int, int] = Setting((224, 224))
    channels: Literal[1, 3] = 3
    fit: Literal["resize", "pad"] = "resize"
    window: Window | None = None

    @field_validator("size", mode="before", json_schema_input_type=Size)
    @classmethod
    def read_size(cls, value: object) -> object:
        return whole_pixels(value)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.size, self.channels)

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        colours = "RGB" if self.channels == 3 else "grey"
        return Tensor(name=name, dtype="uint8", shape=self.shape, role="image", meaning=f"raw pixels 0..255, {colours}",
                      padded=self.fit == "pad")

    def load(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the first frame of a file as raw pixels, uint8 (height, width, channels), with what Pillow reads.

        What needs neither Pillow nor turning does not leave TensorFlow's threads for Python.
        """

        def plainly() -> tf.Tensor:
            return image_decoding.decode_plain(value, self._colours)

        def in_python() -> tf.Tensor:
            # not as a graph in this graph: where TensorFlow has but one thread, the inner one would wait for it forever
            pixels = tf.numpy_function(lambda content: self._decoded(content, image_decoding.decode).numpy(), [value],
                                       tf.uint8, stateful=False)
            return tf.ensure_shape(pixels, [None, None, None])

        return self.fitted(tf.cond(image_decoding.is_plain(value), plainly, in_python))

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the first frame of a JPEG, PNG, GIF or BMP as raw pixels, uint8 (height, width, channels)."""
        return self.fitted(image_decoding.decode(value, self._colours))

    def fitted(self, image: tf.Tensor) -> tf.Tensor:
        """Return an image of any size and channels as the model's raw pixels, uint8 (height, width, channels)."""
        image = _to_channels(image, self.channels)
        if image.shape[:2] != self.size:
            if self.fit == "pad":
                image = tf.image.resize_with_crop_or_pad(image, *self.size)
            else:
                resized = tf.image.resize(image, self.size, antialias=True)
                image = tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
        return tf.ensure_shape(tf.cast(image, tf.uint8), self.shape)

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        try:
            self._decoded(value)
        except ValueError as error:
            return str(error)
        return None

    def from_file(self, path: Path, tensor: Tensor) -> np.ndarray:
        """Return an image file as raw pixels, uint8, in the tensor's shape. Raises UserError."""
        size = tuple(given or own for given, own in zip(tensor.shape[:2], self.size, strict=True))
        wanted = self.model_copy(update={"size": size, "channels": tensor.shape[2] or self.channels})
        return wanted.fitted(tf.constant(wanted.pixels(path))).numpy()

    def in_own_size(self, value: Any) -> np.ndarray:
        """Return an image with the model's channels in its own size, uint8 (height, width, channels).

        Args:
            value: uint8 (height, width, 1 to 4 channels).
        """
        return _to_channels(tf.constant(value), self.channels).numpy()  # type: ignore[no-any-return]

    def pixels(self, path: Path) -> np.ndarray:
        """Return an image file in its own size, uint8 (height, width, 1 to 4 channels), upright. Raises UserError."""
        try:
            return self._decoded(path.read_bytes()).numpy()
        except FileNotFoundError:
            raise UserError(f"{path}: there is no such image") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None

    def encode(self, value: np.ndarray) -> tuple[str, bytes]:
        """Return raw pixels (height, width, channels) as a PNG file."""
        file = io.BytesIO()
        PIL.Image.fromarray(value[..., 0] if value.shape[-1] == 1 else value).save(file, "PNG", compress_level=1)
        return "png", file.getvalue()

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        pixels = np.clip(np.round(value), 0, 255).astype("uint8")
        axes.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
        axes.axis("off")

    def properties(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return brightness, contrast and sharpness of images (examples, height, width, channels)."""
        flat = values.reshape(len(values), -1).astype("float32")
        return {"brightness": flat.mean(axis=1), "contrast": flat.std(axis=1), "sharpness": _sharpness(values)}

    def _decoded(self, content: Any, decode: Callable[[tf.Tensor, int], tf.Tensor] | None = None) -> tf.Tensor:
        """Return a file's pixels in its own size, uint8 (height, width, 1 to 4 channels).

        Args:
            decode: `image_decoding.decode`, by default as a graph, which is quicker.

        Raises:
            ValueError: it cannot be read; the message is the reason.
        """
        if not isinstance(content, bytes):
            content = content.item()  # TensorFlow gives an array when it is eager
        value = tf.constant(content)
        if not image_decoding.is_known(value):
            return tf.constant(image_file.pixels(content))
        try:
            return (decode or image_decoding.traced)(value, self._colours)
        except tf.errors.OpError as error:
            too_large = image_decoding.TOO_LARGE in error.message
            raise ValueError(image_decoding.TOO_LARGE if too_large else image_file.DAMAGED) from None

    @property
    def _colours(self) -> int:
        return 3 if self.channels == 3 else 0  # grey is made of what the file has


def in_words(tensor: Tensor) -> str:
    """Return what the images of a tensor are, for sentences: "RGB images of 28 x 28 pixels"."""
    height, width, channels = tensor.shape
    if tensor.dtype == "uint8":
        kind = f"{'RGB' if channels == 3 else 'grey'} images"
    else:
        kind = "slices" if channels == 1 else f"stacks of {channels} slices"
    return f"{kind} of {height or '?'} x {width or '?'} pixels"


def size_of(value: Any) -> tuple[int, int] | None:
    """Return height and width of a raw image, upright: an array, or a file by its header; None where it cannot be
    read."""
    if not isinstance(value, bytes):
        return np.shape(value)[:2]
    try:
        height, width = image_file.size_of(value)
    except ValueError:
        return None
    return (width, height) if turned_by(value) >= image_decoding.FIRST_LYING else (height, width)


def size_of_file(path: str) -> tuple[int, int] | None:
    """Return height and width of an image file, upright, of which its header alone is read; None where it cannot be."""
    try:
        with open(path, "rb") as file:
            start = file.read(image_decoding.SEARCHED)
        height, width = image_file.size_of(Path(path))
        known = bool(image_decoding.is_known(tf.constant(start)))
        orientation = turned_by(start) if known else image_file.orientation(Path(path))
    except (OSError, ValueError):
        return None
    return (width, height) if orientation >= image_decoding.FIRST_LYING else (height, width)


def turned_by(content: bytes) -> int:
    """Return EXIF's orientation by which an image is turned when it is read, 1 to 8; 1 where it is not turned.

    Args:
        content: of its file.
    """
    start = content[:image_decoding.SEARCHED]
    value = tf.constant(start)
    if bool(image_decoding.is_known(value)):
        has_exif = bool(tf.io.is_jpeg(value)) and b"Exif" in start
        return int(image_decoding.orientation(value)) if has_exif else 1
    return image_file.orientation(content)


def lies_as_stored(content: bytes, height: float, width: float) -> bool:
    """Return whether a size is rather that of an image as it lies in its file, where that is turned by a quarter when
    it is read, than that of what is shown."""
    if turned_by(content) < image_decoding.FIRST_LYING:
        return False
    shown = size_of(content)
    return shown is not None and (shown[0] > shown[1]) != (height > width)


def whole_pixels(value: object) -> object:
    """Return a size as a recipe writes it, one number for a square or [height, width], as (height, width).

    Raises:
        PydanticCustomError: it is something else.
    """
    pair = [value, value] if isinstance(value, int) else value
    whole = isinstance(pair, (list, tuple)) and len(pair) == 2 and all(
        isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in pair)
    if not whole:
        raise PydanticCustomError("size", "give whole pixels, for instance 28 or [28, 28]")
    return tuple(pair)  # type: ignore[arg-type]


def _to_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Drop an alpha channel, and repeat grey or average colour where the model wants the other."""
    present = tf.shape(image)[-1]
    if channels == 3:
        return tf.cond(present >= 3, lambda: image[..., :3], lambda: tf.repeat(image[..., :1], 3, axis=-1))
    return tf.cond(present >= 3, lambda: tf.image.rgb_to_grayscale(image[..., :3]), lambda: image[..., :1])


def _sharpness(images: np.ndarray) -> np.ndarray:
    grey = images.astype("float32").mean(axis=-1)
    return np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2)) + np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
