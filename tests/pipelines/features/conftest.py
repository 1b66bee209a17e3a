"""What the tests of features share: images as files, and axes to draw on."""
import io

import matplotlib
import numpy as np
import PIL.Image
import pytest

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 8, 3)).astype("uint8")
CLASSES = (np.arange(48).reshape(6, 8) % 3).astype("uint8")


def encoded(image, kind="PNG"):
    """Return an image as a file's bytes."""
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, kind)
    return file.getvalue()


@pytest.fixture
def axes():
    """Return axes whose figure is drawn at the end of the test, which fails where it cannot be."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    yield axes
    figure.canvas.draw()
    pyplot.close(figure)
