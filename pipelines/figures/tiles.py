"""Images side by side in one, pixel for pixel."""
from __future__ import annotations

from etils import epy

with epy.lazy_imports():
    import numpy as np

#: The grey of the lines between images, and their width in pixels.
GREY, LINE = 128, 1
#: Images in a row.
COLUMNS = 10


def tiled(images: np.ndarray, columns: int = COLUMNS) -> np.ndarray:
    """Return images, uint8 (images, height, width, channels), as one, row by row, with a line between two."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    canvas = np.full((rows * (height + LINE) + LINE, columns * (width + LINE) + LINE, channels), GREY, np.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * (height + LINE) + LINE, number % columns * (width + LINE) + LINE
        canvas[top:top + height, left:left + width] = image
    return canvas
