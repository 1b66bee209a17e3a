"""The judge of images: a classifier that was trained for itself, by what it sees in them."""
from __future__ import annotations

import functools
from pathlib import Path

from etils import epy
from pydantic import Field

import models
from export.keras_models import file as keras_file
from pipelines.entries import ShortSection
from pipelines.errors import UserError
from pipelines.tasks.classes import OUTPUT

with epy.lazy_imports():
    import keras
    import numpy as np

KERAS = ".keras"
#: What a recipe calls the network that was trained elsewhere.
INCEPTION = "inception"


class JudgeSection(ShortSection, shorthand="of"):
    """Which classifier judges pictures.

    Args:
        of: a recipe of image_classification, which is trained first where it has not been; the folder of a run; a
            .keras file; or `inception`, InceptionV3 with the weights of keras.applications.
        file: the model's; it is found by `of` where not given. Of Inception its weights', which are downloaded where
            not given.
        digest: of the file.
    """

    of: str = Field(min_length=1)
    file: str | None = Field(None, min_length=1)
    digest: str = ""

    @property
    def is_there(self) -> bool:
        """Return whether its file is known, and not a recipe that is trained first."""
        return self.file is not None or self.of.endswith(KERAS) or self.is_inception

    @property
    def is_inception(self) -> bool:
        return self.of == INCEPTION

    def path(self, setting: str) -> Path:
        """Return where the classifier's file is. Raises UserError where its recipe has not been trained.

        Args:
            setting: what recipes call the judge, for errors.
        """
        path = Path(self.file or self.of)
        if path.suffix != KERAS:
            raise UserError(f"{setting}: {self.of} has not been trained; litepress run trains it first")
        return path


def classifier(path: Path, size: tuple[int, ...], setting: str) -> keras.Model:
    """Return the classifier in a .keras file.

    Args:
        size: of the images that it judges, (height, width, channels).
        setting: what recipes call it, for errors.

    Raises:
        UserError: there is no file, no classifier in it, or one of images of other sizes.
    """
    if not path.is_file():
        raise UserError(f"{setting}: there is no file {path}")
    try:
        model = _load(path)
    except ValueError as error:
        raise UserError(f"{setting}: {error}") from error
    outputs = models.named_outputs(model)
    takes_images = len(model.inputs) == 1 and len(model.inputs[0].shape) == 4
    if not takes_images or OUTPUT not in outputs or len(outputs[OUTPUT].shape) != 2:
        raise UserError(f"{setting}: {path} is not a classifier of images; give a recipe of image_classification")
    taken = tuple(model.inputs[0].shape[1:])
    if taken[:2] != tuple(size[:2]):
        raise UserError(f"{setting}: it sees images of {taken[0]} x {taken[1]} pixels, and these are {size[0]} x "
                        f"{size[1]}; give a classifier of this size")
    return model


@functools.lru_cache(maxsize=1)
def _load(path: Path) -> keras.Model:
    return keras_file.load(path)


def in_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Return grey images repeated to three channels, or coloured ones averaged to one, where the judge sees such."""
    if images.shape[-1] == channels:
        return images
    return np.repeat(images, channels, axis=-1) if channels > 1 else images.mean(axis=-1, keepdims=True)
