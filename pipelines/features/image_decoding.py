"""Image files in a graph: what TensorFlow's own operations read of them, in the input pipeline as in a served model.

A server runs these graphs without Python, so that nothing else can be done there. What TensorFlow would misread, or
crashes on, is refused by an assertion.
"""
from __future__ import annotations

import functools
from collections.abc import Callable

from etils import epy

with epy.lazy_imports():
    import tensorflow as tf

#: Pixels that an image may have: beyond it Pillow, too, takes a file for a decompression bomb.
MOST_PIXELS = 178_956_970
TOO_LARGE = f"more than {MOST_PIXELS:,} pixels"
#: How files begin.
PNG, GIF, BMP = b"\x89PNG", b"GIF8", b"BM"
#: Bytes at the beginning of a JPEG that are searched for its EXIF: a segment is no longer than this.
SEARCHED = 2**16
#: Of EXIF: the tag of the orientation, the bytes of an entry of its directory, and what it begins with.
ORIENTATION, ENTRY, EXIF = 0x0112, 12, b"Exif\0\0"
#: Bytes of a JPEG's segments: what each begins with, application data from EXIF's on, and a comment.
MARKER, FIRST_APPLICATION, EXIF_SEGMENT, LAST_APPLICATION, COMMENT = 0xFF, 0xE0, 0xE1, 0xEF, 0xFE
#: Orientations of images that lie on their side; and of those that, once rows are columns there, are upside down, and
#: mirrored.
FIRST_LYING, UPSIDE_DOWN, MIRRORED = 5, (3, 4, 7, 8), (2, 3, 6, 7)
#: In a BMP of 8 bits: where its palette of 256 times blue, green, red and 0 is, behind a header of the usual length.
BMP_BITS, BMP_PALETTE, LEVELS = 28, 54, 256


def decode(content: tf.Tensor, channels: int) -> tf.Tensor:
    """Return the first frame of a JPEG, PNG, GIF or BMP, uint8 (height, width, 1 to 4 channels).

    A JPEG is turned as its EXIF says. Of 16 bits the upper 8 are taken; palettes are resolved, CMYK becomes RGB.

    Args:
        content: of the file, a string.
        channels: 3 for RGB; 0 for what the file has.

    Raises:
        tf.errors.InvalidArgumentError: it is another or a damaged file, or has more than `MOST_PIXELS`.
    """
    read = functools.partial(_read, content, channels=channels)
    start = tf.strings.substr(content, 0, 4)

    def jpeg() -> tf.Tensor:
        height_and_width = tf.io.extract_jpeg_shape(content, tf.int64)[:2]
        return turned(read(pixels=tf.reduce_prod(height_and_width)), orientation(content))

    def png() -> tf.Tensor:
        return read(pixels=_product(content, 16, 4, big=True))

    def gif() -> tf.Tensor:
        return read(pixels=_product(content, 6, 2, big=False))

    def bmp() -> tf.Tensor:
        known = _is_plain_bmp(content)
        return read(pixels=tf.where(known, _product(content, 18, 4, big=False), 0), known=known)

    # all others are refused: TensorFlow 2.21 reads WebP too, and writes past its memory where one is animated
    image = tf.case([(tf.io.is_jpeg(content), jpeg), (start == PNG, png), (start == GIF, gif)], default=bmp)
    return tf.ensure_shape(image, [None, None, None])


def traced(content: tf.Tensor, channels: int) -> tf.Tensor:
    """Return what `decode` does, as a graph: its operations one by one take some milliseconds more."""
    return _traced(channels)(content)


@functools.cache
def _traced(channels: int) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.function(lambda content: decode(content, channels), autograph=False,
                       input_signature=[tf.TensorSpec([], tf.string)])


def is_known(content: tf.Tensor) -> tf.Tensor:
    """Return whether a file is one that is decoded here wherever there is Python too: a JPEG, PNG or GIF."""
    start = tf.strings.substr(content, 0, 4)
    return tf.io.is_jpeg(content) | (start == PNG) | (start == GIF)


def is_plain(content: tf.Tensor) -> tf.Tensor:
    """Return whether a file is a PNG, a GIF, or a JPEG without EXIF, which has no way to be turned."""
    start = tf.strings.substr(content, 0, SEARCHED)
    has_exif = tf.strings.regex_replace(start, "Exif", "", replace_global=False) != start
    return is_known(content) & ~(tf.io.is_jpeg(content) & has_exif)


def decode_plain(content: tf.Tensor, channels: int) -> tf.Tensor:
    """Return the first frame of a plain file as it lies there; otherwise as `decode`."""
    return tf.io.decode_image(content, channels=channels, expand_animations=False)


def turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Return an image (height, width, channels) upright that lies in its file as EXIF's orientation says, 1 to 8."""

    def transposed() -> tf.Tensor:
        # every row becomes a column. Of tf.transpose oneDNN says on stderr that it does not take bytes
        return tf.batch_to_space(image[:, :, None], [1, tf.shape(image)[0]], [[0, 0], [0, 0]])[0]

    def turn() -> tf.Tensor:
        upright = tf.cond(orientation >= FIRST_LYING, transposed, lambda: image)
        upside_down = tf.reduce_any(orientation == tf.constant(UPSIDE_DOWN))
        mirrored = tf.reduce_any(orientation == tf.constant(MIRRORED))
        return tf.raw_ops.Reverse(tensor=upright, dims=tf.stack([upside_down, mirrored, tf.constant(False)]))

    return tf.cond(orientation > 1, turn, lambda: image)


def orientation(content: tf.Tensor) -> tf.Tensor:
    """Return the orientation in the EXIF of a JPEG, int32, 1 to 8; 1 where it has none (EXIF 2.32, 4.6.4)."""
    header = tf.io.decode_raw(tf.strings.substr(content, 0, SEARCHED), tf.uint8)
    start = _exif(header)
    return tf.cond(start > 0, lambda: _orientation_at(header, start), lambda: tf.constant(1))


def _read(content: tf.Tensor, *, channels: int, pixels: tf.Tensor, known: tf.Tensor | None = None) -> tf.Tensor:
    """Return a file's image, after assertions that it is of a known kind and not too large."""
    checks = [tf.debugging.Assert(pixels <= MOST_PIXELS, [TOO_LARGE])]
    if known is not None:
        checks.insert(0, tf.debugging.Assert(known, ["not a JPEG, PNG, GIF, or BMP without a palette of colours"]))
    with tf.control_dependencies([check for check in checks if check is not None]):  # eager ones have been checked
        return decode_plain(tf.identity(content), channels)


def _product(content: tf.Tensor, position: int, size: int, *, big: bool) -> tf.Tensor:
    """Return the product of two numbers in a file, of so many bytes each; 0 where the file ends before them."""
    end = position + 2 * size
    header = tf.pad(tf.io.decode_raw(tf.strings.substr(content, 0, end), tf.uint8), [[0, end]])
    numbers = _numbers(tf.reshape(header[position:end], [2, size]), size, big)
    # a BMP that is written from above has a negative height
    return tf.reduce_prod(tf.where(numbers < 2**31, numbers, 2**32 - numbers))


def _is_plain_bmp(content: tf.Tensor) -> tf.Tensor:
    """Return whether a file is a BMP that has colours of its own, or a palette that is but the levels of grey."""
    header = tf.io.decode_raw(tf.strings.substr(content, 0, BMP_PALETTE + 4 * LEVELS), tf.uint8)
    grey = tf.repeat(tf.range(LEVELS), 3)

    def is_grey() -> tf.Tensor:
        palette = tf.reshape(header[BMP_PALETTE:], [LEVELS, 4])[:, :3]
        return tf.reduce_all(tf.cast(tf.reshape(palette, [-1]), tf.int32) == grey)

    is_bmp = tf.strings.substr(content, 0, 2) == BMP
    bits = tf.reduce_sum(tf.cast(header[BMP_BITS:BMP_BITS + 1], tf.int32))
    has_palette = (bits == 8) & (tf.size(header) == BMP_PALETTE + 4 * LEVELS)
    return is_bmp & tf.cond(has_palette, is_grey, lambda: (bits == 24) | (bits == 32))


def _exif(header: tf.Tensor) -> tf.Tensor:
    """Return where the EXIF of a JPEG begins, behind its name; 0 where there is none before the image."""
    end = tf.size(header) - len(EXIF) - 4

    def byte(position: tf.Tensor) -> tf.Tensor:
        return tf.cast(header[position], tf.int32)

    def is_exif(position: tf.Tensor) -> tf.Tensor:
        name = header[position + 4:position + 4 + len(EXIF)]
        is_named = tf.reduce_all(name == tf.constant(list(EXIF), tf.uint8))
        return (byte(position + 1) == EXIF_SEGMENT) & is_named

    def goes_on(position: tf.Tensor) -> tf.Tensor:
        return tf.cond(position < end, lambda: _is_aside(byte(position), byte(position + 1), is_exif(position)),
                       lambda: tf.constant(False))

    def next_segment(position: tf.Tensor) -> tuple[tf.Tensor]:
        return (position + 2 + LEVELS * byte(position + 2) + byte(position + 3),)

    position, = tf.while_loop(goes_on, next_segment, [tf.constant(2)])
    found = tf.cond(position < end, lambda: is_exif(position), lambda: tf.constant(False))
    return tf.where(found, position + 4 + len(EXIF), 0)


def _is_aside(first: tf.Tensor, second: tf.Tensor, is_exif: tf.Tensor) -> tf.Tensor:
    """Return whether a segment, by its first two bytes, is application data or a comment, and not EXIF."""
    application = (second >= FIRST_APPLICATION) & (second <= LAST_APPLICATION)
    return (first == MARKER) & (application | (second == COMMENT)) & ~is_exif


def _orientation_at(header: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Return the orientation in an EXIF, which is a TIFF file: the byte order, where its directory is, its entries."""
    big = header[start] == ord("M")
    directory = tf.pad(header[start:], [[0, 2 * ENTRY]])  # a damaged one may point behind its end
    offset = tf.cast(_numbers(directory[4:8], 4, big), tf.int32)
    last = tf.size(directory) - 2 * ENTRY
    offset = tf.clip_by_value(offset, 0, last)
    count = tf.minimum(tf.cast(_numbers(directory[offset:offset + 2], 2, big), tf.int32), (last - offset) // ENTRY)
    entries = tf.reshape(directory[offset + 2:offset + 2 + ENTRY * count], [count, ENTRY])
    values = tf.boolean_mask(_numbers(entries[:, 8:10], 2, big), _numbers(entries[:, :2], 2, big) == ORIENTATION)
    value = tf.cast(tf.reduce_max(tf.concat([values[:1], tf.ones(1, tf.int64)], 0)), tf.int32)
    return tf.where(value <= 8, value, 1)


def _numbers(parts: tf.Tensor, size: int, big: bool | tf.Tensor) -> tf.Tensor:
    """Return whole numbers out of their bytes, uint8 (..., size) to int64 (...).

    Args:
        big: whether the first byte counts most.
    """
    small_first = [LEVELS ** position for position in range(size)]
    weights = tf.where(big, tf.constant(small_first[::-1], tf.int64), tf.constant(small_first, tf.int64))
    return tf.reduce_sum(tf.cast(parts, tf.int64) * weights, -1)
