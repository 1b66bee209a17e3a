"""The judge of pictures: a classifier that was trained for itself, whose features they are compared in."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from etils import epy

import models
from pipelines.errors import UserError
from pipelines.tasks.classes import OUTPUT
from pipelines.tasks.image_generation.inception import SETTING, Inception
from pipelines.tasks.image_generation.seen import Judging, Seen
from pipelines.tasks.judge import JudgeSection, classifier, in_channels

with epy.lazy_imports():
    import keras
    import numpy as np
    import scipy.special

if TYPE_CHECKING:
    from pipelines.ingest.index import Index

#: Images that it is asked at once.
BATCH = 256


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
        model = classifier(path, size, SETTING)
        logits = models.named_outputs(model)[OUTPUT]
        self.channels = model.inputs[0].shape[3]
        self.classes = logits.shape[1]
        self._model = keras.Model(model.inputs, [logits._keras_history.operation.input, logits])

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
    judge = Judge(section.path(SETTING), index.inputs[name].shape)  # type: ignore[arg-type]
    target = index.class_target
    names = index.names(target) if target is not None else []
    if len(names) > 1 and judge.classes != len(names):
        raise UserError(f"{SETTING}: it tells {judge.classes} classes apart, and the data have {len(names)}; give a "
                        "classifier of the same classes")
    return judge
