"""Image files as people have them: twenty odd ones that are read, and what cannot be."""
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image

HEIGHT, WIDTH = 30, 40
DOWN, ACROSS = np.mgrid[0:HEIGHT, 0:WIDTH]
#: Smooth, and different in each corner, so that what is turned or mirrored shows.
COLORS = np.stack([ACROSS * 6, DOWN * 8, (ACROSS + DOWN) * 3], axis=-1).astype("uint8")
PICTURE = PIL.Image.fromarray(COLORS)
GREY = PICTURE.convert("L")
LEVELS = np.asarray(GREY)
PALETTE = PICTURE.quantize(64)
BLACK_AND_WHITE = GREY.point(lambda level: 255 * (level > 128), "1")
OTHER = PIL.Image.fromarray(255 - COLORS)
#: What is known of a HEIC file by its beginning.
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


def saved(picture: PIL.Image.Image, kind: str, **settings: object) -> bytes:
    """Return an image as a file's bytes."""
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()


def with_alpha(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Return an image that is transparent on the left and opaque on the right."""
    changed = picture.copy()
    changed.putalpha(PIL.Image.fromarray((ACROSS * 6).astype("uint8")))
    return changed


def png16(values: np.ndarray) -> bytes:
    """Return numbers of 16 bits, (height, width) or with 3 channels, as a PNG, which Pillow cannot write of colours."""
    height, width = values.shape[:2]

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 0 if values.ndim == 2 else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def turned(orientation: int) -> bytes:
    """Return a JPEG that lies as EXIF's orientation says, and is `PICTURE` once it is upright."""
    ways = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
            7: "TRANSVERSE", 8: "ROTATE_270"}
    lying = PICTURE.transpose(PIL.Image.Transpose[ways[orientation]])
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return saved(lying, "JPEG", quality=100, subsampling=0, exif=exif)


#: Name to the file and what it shows, (height, width) or with 3 channels. A server reads these too.
PLAIN: dict[str, tuple[bytes, np.ndarray]] = {
    "png16_grey.png": (png16(LEVELS.astype("uint16") * 256 + 200), LEVELS),
    "png16_rgb.png": (png16(COLORS.astype("uint16") * 256 + 99), COLORS),
    "palette.png": (saved(PALETTE, "PNG"), np.asarray(PALETTE.convert("RGB"))),
    "palette_transparent.png": (saved(PALETTE, "PNG", transparency=3), np.asarray(PALETTE.convert("RGB"))),
    "rgba.png": (saved(with_alpha(PICTURE), "PNG"), COLORS),
    "grey_alpha.png": (saved(with_alpha(GREY), "PNG"), LEVELS),
    "cmyk.jpg": (saved(PICTURE.convert("CMYK"), "JPEG", quality=100, subsampling=0), COLORS),
    "progressive.jpg": (saved(PICTURE, "JPEG", quality=100, subsampling=0, progressive=True), COLORS),
    "animated.gif": (saved(PICTURE, "GIF", save_all=True, append_images=[OTHER]), COLORS),
    "animated.png": (saved(PICTURE, "PNG", save_all=True, append_images=[OTHER]), COLORS),
    "one_bit.png": (saved(BLACK_AND_WHITE, "PNG"), np.asarray(BLACK_AND_WHITE.convert("L"))),
    "really_png.jpg": (saved(PICTURE, "PNG"), COLORS),
    "really_jpg.png": (saved(PICTURE, "JPEG", quality=100, subsampling=0), COLORS),
    "plain.bmp": (saved(PICTURE, "BMP"), COLORS),
    "grey.bmp": (saved(GREY, "BMP"), LEVELS),
    "one_pixel.png": (saved(PICTURE.crop((20, 10, 21, 11)), "PNG"), np.full_like(COLORS, COLORS[10, 20])),
    **{f"exif{number}.jpg": (turned(number), COLORS) for number in range(2, 9)}}
#: The same of files that only Pillow reads, where there is Python.
BY_PILLOW: dict[str, tuple[bytes, np.ndarray]] = {
    "one_bit.bmp": (saved(BLACK_AND_WHITE, "BMP"), np.asarray(BLACK_AND_WHITE.convert("L"))),
    "palette.bmp": (saved(PALETTE, "BMP"), np.asarray(PALETTE.convert("RGB"))),
    "plain.webp": (saved(PICTURE, "WEBP", lossless=True), COLORS),
    "alpha.webp": (saved(with_alpha(PICTURE), "WEBP", lossless=True, exact=True), COLORS),
    "animated.webp": (saved(PICTURE, "WEBP", lossless=True, save_all=True, append_images=[OTHER]), COLORS),
    "plain.tif": (saved(PICTURE, "TIFF"), COLORS),
    "cmyk.tif": (saved(PICTURE.convert("CMYK"), "TIFF"), COLORS),
    "grey16.tif": (saved(PIL.Image.fromarray(LEVELS.astype("uint16") * 256 + 7), "TIFF"), LEVELS),
    "plain.avif": (saved(PICTURE, "AVIF", quality=95), COLORS),
    "grey.pgm": (saved(GREY, "PPM"), LEVELS)}
READABLE = PLAIN | BY_PILLOW
NOT_READ = "which is not read; save it as a JPEG or PNG"
#: Name to the file, and why it cannot be read.
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "truncated.jpg": (saved(PICTURE, "JPEG")[:400], "truncated or damaged"),
    "truncated.png": (saved(PICTURE.rotate(30), "PNG")[:400], "truncated or damaged"),
    "truncated.webp": (saved(PICTURE, "WEBP")[:90], "truncated or damaged"),
    "empty.jpg": (b"", "empty file"),
    "text.jpg": (b"a shopping list", "not a JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF or PPM"),
    "huge.png": (png16(np.zeros((1, 1))).replace(struct.pack(">II", 1, 1), struct.pack(">II", 20_000, 15_000)),
                 "more than 178,956,970 pixels"),
    "huge.webp": (saved(PICTURE, "BMP")[:18] + struct.pack("<ii", 20_000, -15_000) + saved(PICTURE, "BMP")[26:],
                  "more than 178,956,970 pixels"),
    "numbers.tif": (saved(PIL.Image.fromarray(LEVELS / np.float32(255)), "TIFF"),
                    "has numbers of 32 bits for pixels; save it with 8 or 16 bits"),
    "phone.heic": (HEIC, f"a HEIC image, {NOT_READ}"),
    "camera.cr2": (b"II*\0\x10\0\0\0CR" + bytes(100), f"a camera's raw image, {NOT_READ}"),
    "camera.dng": (saved(PICTURE, "TIFF", tiffinfo={50706: bytes([1, 4, 0, 0])}), f"a camera's raw image, {NOT_READ}"),
    "layers.psd": (b"8BPS\0\1" + bytes(100), f"a Photoshop image, {NOT_READ}"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", f"an SVG drawing, {NOT_READ}")}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
