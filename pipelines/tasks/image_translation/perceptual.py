"""How unlike images are to a judge: the distance of what its layers see of both."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from etils import epy

from pipelines.errors import UserError
from pipelines.tasks.evaluation import Metric
from pipelines.tasks.judge import classifier, in_channels

with epy.lazy_imports():
    import keras
    import numpy as np

SETTING = "task.image_translation.judge"
LPIPS = "lpips_classifier"
METRIC = Metric(name=LPIPS, label="LPIPS (classifier)", better="lower", relative=True, shown=False)
#: Images that are looked at at once, and what keeps a column of zeros from being divided by its length.
BATCH, TINY = 64, 1e-10


class Perceptual:
    """The distance of Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018,
    equation 1, in the layers of a classifier, with the weight 1 for each of their channels: at each place the channels
    are divided by their length, and the squares of the differences are added up over channels and layers, and averaged
    over places.

    The layers are the last of each resolution that has convolutions, as those that the paper takes of VGG.

    Args:
        path: of the classifier's .keras file.
        size: of the images, (height, width, channels).

    Raises:
        UserError: it is no classifier, of images of other sizes, or has no convolutions.
    """

    def __init__(self, path: Path, size: tuple[int, ...]):
        model = classifier(path, size, SETTING)
        maps = layers(model)
        if not maps:
            raise UserError(f"{SETTING}: {path} is not a classifier of images with convolutions; give a recipe of "
                            "image_classification")
        self.channels = model.inputs[0].shape[3]
        self._model = keras.Model(model.inputs, [layer.output for layer in maps])

    def distance(self, images: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return how unlike images, uint8 (images, height, width, 1 or 3 channels), are to others, (images,)."""
        total = np.zeros(len(images))
        for start in range(0, len(images), BATCH):
            rows = slice(start, start + BATCH)
            for one, other in zip(self._seen(images[rows]), self._seen(others[rows]), strict=True):
                total[rows] += ((_unit(one) - _unit(other)) ** 2).sum(axis=-1).mean(axis=(1, 2))
        return total

    def _seen(self, images: np.ndarray) -> list[np.ndarray]:
        """Return what each layer sees of images."""
        seen = self._model(in_channels(images, self.channels).astype(np.float32), training=False)
        return [np.asarray(maps, float) for maps in (seen if isinstance(seen, list) else [seen])]


def layers(model: Any) -> list[Any]:
    """Return the last layer of each resolution that has convolutions, the finest first."""
    last: dict[tuple[int, ...], Any] = {}
    convolved: set[tuple[int, ...]] = set()
    for layer in model.layers:
        shape = getattr(layer.output, "shape", ())
        if len(shape) != 4 or isinstance(layer, keras.layers.InputLayer):
            continue
        resolution = tuple(shape[1:3])
        last[resolution] = layer
        if "Conv" in type(layer).__name__:
            convolved.add(resolution)
    return [layer for resolution, layer in last.items() if resolution in convolved]


def _unit(maps: np.ndarray) -> np.ndarray:
    return maps / (np.sqrt((maps ** 2).sum(axis=-1, keepdims=True)) + TINY)
