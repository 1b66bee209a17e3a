"""Image files on the user's disk: which there are, which are read, and what Pillow reads where TensorFlow does not."""
from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from etils import epy

from pipelines.features.image_decoding import TOO_LARGE

with epy.lazy_imports():
    import numpy as np
    import PIL.Image
    import PIL.ImageOps

#: What is read, for people.
READ = "JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF or PPM"
#: What the folder that a file lies in is called, where that holds files together.
FOLDER = "folder"
#: Endings of files that are read.
SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif",
            ".ppm", ".pgm", ".pbm", ".pnm"}
#: Endings of files that are images too, and are not read: they are named, not passed over.
NOT_READ = {".heic", ".heif", ".hif", ".jp2", ".j2k", ".jxl", ".psd", ".svg", ".exr", ".cr2", ".cr3", ".crw", ".nef",
            ".nrw", ".arw", ".srf", ".sr2", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw", ".x3f"}
#: Files and folders that systems and programs leave among images; so are those whose names begin with a dot.
LEFT_BEHIND = {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "$recycle.bin"}
#: Formats that Pillow reads for it.
BY_PILLOW = ("BMP", "WEBP", "TIFF", "AVIF", "PPM")
#: First bytes of images that are not read; of some, those from the fifth on.
HEIC, CAMERA = "a HEIC image", "a camera's raw image"
STARTS = {b"8BPS": "a Photoshop image", b"\xff\x0a": "a JPEG XL image", b"\0\0\0\x0cJXL ": "a JPEG XL image",
          b"\0\0\0\x0cjP  ": "a JPEG 2000 image", b"\xff\x4f\xff\x51": "a JPEG 2000 image", b"<svg": "an SVG drawing",
          b"<?xml": "an SVG drawing, or other XML", b"FUJIFILMCCD-RAW": CAMERA, b"IIRO": CAMERA, b"IIRS": CAMERA,
          b"MMOR": CAMERA, b"IIU\0": CAMERA, b"\x76\x2f\x31\x01": "an OpenEXR image"}
BRANDS = {b"ftyp" + brand: what for what, brands in (
    (HEIC, (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")), (CAMERA, (b"crx ",)))
    for brand in brands}
#: Tags of a TIFF that say that it is a camera's: what is first in it is a small preview.
PREVIEW, DNG_VERSION = 254, 50706
#: Tags of a TIFF: how many columns and rows it has, and how it is to be turned, which EXIF has too.
COLUMNS, ROWS, ORIENTATION = 256, 257, 274
#: Types of pixels, as Pillow calls them, that have one number of 16 bits, and such as no image of 8 bits is made of.
SIXTEEN, NUMBERS = ("I;16", "I;16L", "I;16B", "I;16N"), ("I", "F")
GREY = ("1", "L", "LA", "La")
#: Why a file cannot be read.
DAMAGED = "truncated or damaged"


def is_left_behind(path: PurePath) -> bool:
    """Return whether a file or folder, by its name alone, is hidden or was left by a system: ._1.jpg, Thumbs.db."""
    return path.name.startswith(".") or path.name.lower() in LEFT_BEHIND


def folders(folder: Path) -> list[Path]:
    """Return the user's folders in a folder, sorted."""
    return sorted(child for child in folder.iterdir() if child.is_dir() and not is_left_behind(child))


def images(folder: Path, *, below: bool = False) -> list[Path]:
    """Return the images in a folder, those that are not read too, sorted.

    Args:
        below: those in folders below too.
    """
    return sorted(path for path in files(folder, below=below) if is_image(path))


def why_none(folder: Path) -> str:
    """Return what there is in a folder without images, and those below, for people."""
    count = sum(1 for _ in files(folder, below=True))
    return f"{count} files and none of them is an image" if count else "no files"


def group_of(parts: Sequence[str]) -> str:
    """Return what holds a file together with others: the first of the folders on the way to it, or its own name.

    Args:
        parts: of its path, folders and then its name.
    """
    return parts[0] if len(parts) > 1 else PurePath(parts[-1]).stem


def is_image(path: PurePath) -> bool:
    """Return whether a file, by its ending, is an image, be it one that is read or not."""
    return path.suffix.lower() in SUFFIXES | NOT_READ


def files(folder: Path, *, below: bool = False) -> Iterator[Path]:
    """Yield the user's files in a folder, and in those below too."""
    for path in folder.rglob("*") if below else folder.iterdir():
        parts = path.relative_to(folder).parts
        if not any(is_left_behind(PurePath(part)) for part in parts) and path.is_file():
            yield path


def pixels(content: bytes) -> np.ndarray:
    """Return the first frame of a file that TensorFlow does not read, upright, uint8 (height, width, 1 or 3 channels).

    As with those that it does, of 16 bits the upper 8 are taken, transparency is left out, and CMYK becomes RGB.

    Raises:
        ValueError: it cannot be read; the message goes on from the file's name.
    """
    if not content:
        raise ValueError("empty file")
    if what := _not_read(content):
        raise ValueError(_refusal(what))
    try:
        with _opened(content) as file:
            return _raw(PIL.ImageOps.exif_transpose(file))
    except PIL.UnidentifiedImageError:
        raise ValueError(f"not a {READ}") from None
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(DAMAGED) from error


def size_of(content: bytes | Path) -> tuple[int, int]:
    """Return height and width by a file's header, as they lie in it. Raises ValueError where it cannot be read.

    Args:
        content: of the file, or where it is.
    """
    try:
        with _opened(content, None) as file:
            return _stored(file)
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(DAMAGED) from error


def orientation(content: bytes | Path) -> int:
    """Return EXIF's orientation of a file that TensorFlow does not read, 1 to 8; 1 where it has none."""
    try:
        with _opened(content) as file:
            return int(file.getexif().get(ORIENTATION, 1))
    except (OSError, SyntaxError, EOFError, ValueError):
        return 1


def _stored(file: PIL.Image.Image) -> tuple[int, int]:
    """Return height and width as they lie in a file: of a TIFF Pillow has turned them already."""
    tags = getattr(file, "tag_v2", None)
    if tags is not None and ROWS in tags and COLUMNS in tags:
        return int(tags[ROWS]), int(tags[COLUMNS])
    return file.height, file.width


def _opened(content: bytes | Path, formats: tuple[str, ...] | None = BY_PILLOW) -> PIL.Image.Image:
    """Return a file that Pillow has read the header of. Raises ValueError where it is too large, or a camera's."""
    with warnings.catch_warnings():
        # of damaged EXIF, and of what is half as large as is refused
        warnings.simplefilter("ignore")
        try:
            file = PIL.Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=formats)
        except PIL.Image.DecompressionBombError:
            raise ValueError(TOO_LARGE) from None
    tags = getattr(file, "tag_v2", {})
    if tags.get(PREVIEW) == 1 or DNG_VERSION in tags:
        raise ValueError(_refusal(CAMERA))
    return file


def _not_read(content: bytes) -> str | None:
    """Return what a file is by its first bytes, where it is an image that is not read."""
    if content[8:10] == b"CR" and content[:4] == b"II*\0":
        return CAMERA
    named = (what for start, what in STARTS.items() if content.startswith(start))
    return next(named, None) or BRANDS.get(content[4:12])


def _refusal(what: str) -> str:
    return f"{what}, which is not read; save it as a JPEG or PNG"


def _raw(image: PIL.Image.Image) -> np.ndarray:
    """Return the pixels of an image, uint8 (height, width, 1 or 3 channels)."""
    if image.mode in SIXTEEN:
        return (np.asarray(image) >> 8).astype("uint8")[..., None]
    if image.mode in NUMBERS:
        raise ValueError("has numbers of 32 bits for pixels; save it with 8 or 16 bits")
    if image.mode in GREY:
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))
