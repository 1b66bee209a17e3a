"""The judge of pictures: a classifier that was trained for itself, whose features they are compared in."""
from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from etils import epy
from pydantic import Field

import models
from export.keras_models import file as keras_file
from pipelines.entries import ShortSection
from pipelines.errors import UserError
from pipelines.tasks.classes import OUTPUT
from pipelines.tasks.image_generation.inception import INCEPTION, SETTING, Inception
from pipelines.tasks.image_generation.seen import Judging, Seen

with epy.lazy_imports():
    import keras
    import numpy as np
    import scipy.special

if TYPE_CHECKING:
    from pipelines.ingest.index import Index

#: Images that it is asked at once.
BATCH = 256
KERAS = ".keras"


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


class Judge:
    """A classifier: what its last dense layer sees of an image are the features.

    Args:
        path: of its .keras file.
        size: of the images, (height, width, channels).

    Raises:
        UserError: it is no classifier, or of images of other sizes.
    """

    suffix: ClassVar[str] = "_classifier"
    what: ClassVar[str] = "a classifier that was trained for them"

    def __init__(self, path: Path, size: tuple[int, ...]):
        model = _model(path)
        outputs = models.named_outputs(model)
        taken = tuple(model.inputs[0].shape[1:])
        if len(model.inputs) != 1 or OUTPUT not in outputs or len(outputs[OUTPUT].shape) != 2:
            raise UserError(f"{SETTING}: {path} is not a classifier of images; give a recipe of image_classification")
        if taken[:2] != tuple(size[:2]):
            raise UserError(f"{SETTING}: it sees images of {taken[0]} x {taken[1]} pixels, and these are {size[0]} x "
                            f"{size[1]}; give a classifier of this size")
        self.channels = taken[2]
        self.classes = outputs[OUTPUT].shape[1]
        operation = outputs[OUTPUT]._keras_history.operation
        self._model = keras.Model(model.inputs, [operation.input, outputs[OUTPUT]])

    def look(self, images: np.ndarray) -> Seen:
        """Return what it says of images, uint8 (images, height, width, 1 or 3 channels)."""
        fitted = in_channels(images, self.channels).astype(np.float32)
        features, logits = self._model.predict(fitted, batch_size=BATCH, verbose=0)
        return Seen(features.reshape(len(features), -1), scipy.special.softmax(logits.astype(float), axis=1))


def judge_of(section: JudgeSection | None, index: Index, name: str) -> Judging:
    """Return the judge of a recipe.

    Args:
        name: of the feature that the images are.

    Raises:
        UserError: there is none, or it does not fit the images or their classes.
    """
    if section is None:
        raise UserError(f"{SETTING}: pictures are compared in the features of a classifier; give its recipe, for "
                        "instance recipes/vision/digits.yaml, or the folder of its run")
    if section.is_inception:
        return Inception(Path(section.file) if section.file is not None else None)
    path = Path(section.file or section.of)
    if path.suffix != KERAS:
        raise UserError(f"{SETTING}: {section.of} has not been trained; litepress run trains it first")
    if not path.is_file():
        raise UserError(f"{SETTING}: there is no file {path}")
    judge = Judge(path, index.inputs[name].shape)  # type: ignore[arg-type]
    target = index.class_target
    names = index.names(target) if target is not None else []
    if len(names) > 1 and judge.classes != len(names):
        raise UserError(f"{SETTING}: it tells {judge.classes} classes apart, and the data have {len(names)}; give a "
                        "classifier of the same classes")
    return judge


@functools.lru_cache(maxsize=1)
def _model(path: Path) -> Any:
    try:
        return keras_file.load(path)
    except ValueError as error:
        raise UserError(f"{SETTING}: {error}") from error


def in_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Return grey images repeated to three channels, or coloured ones averaged to one, where the judge sees such."""
    if images.shape[-1] == channels:
        return images
    return np.repeat(images, channels, axis=-1) if channels > 1 else images.mean(axis=-1, keepdims=True)
