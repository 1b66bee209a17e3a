"""Pictures that a model learns to make: it is not asked about them."""
from __future__ import annotations

from pipelines.features.image import Image


class Picture(Image, name="picture", shorthand="size"):
    """The images that a model learns to make; a server is not sent them. It takes the settings of an image."""

    encoded = False
