"""Images in one, pixel for pixel."""
import numpy as np

from pipelines.figures.tiles import tiled


def test_tiles_lie_row_by_row():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)
    canvas = tiled(images, 2)
    assert canvas.shape == (10, 9, 1)
    assert canvas[1:3, 1:4].max() == 0 and (canvas[1:3, 5:8] == 1).all() and (canvas[7:9, 1:4] == 4).all()
