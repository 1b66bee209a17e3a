"""Pictures of the same noise after each epoch: how a generative model learns, to look at."""
from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from etils import epy
from pydantic import Field

from pipelines.engine.store import whole
from pipelines.errors import UserError
from pipelines.figures.tiles import LINE, tiled
from pipelines.training.callbacks import Callback, TrainingContext

with epy.lazy_imports():
    import numpy as np
    import PIL.Image

#: The folder of the grids beside the trained model, and the picture that has a row of each.
FOLDER, BY_EPOCH = "samples", "pictures_by_epoch.png"
#: Pictures in a row.
COLUMNS = 8


class Samples(Callback, name="samples", shorthand="count"):
    """Grids of the pictures that a generative model makes of the same noise, or of the same images, while it learns:
    samples/epoch_0001.png and so on, and the first row of each in pictures_by_epoch.png.

    The noise, classes and images are those of the first training examples. Where weights are averaged it is the average
    that makes them. Diffusion models take 20 steps without guidance; what is made of an image stands on its right.

    Args:
        count: pictures of each epoch.
        most: epochs that have some, at most: the first, the last, and others as far apart.
    """

    count: int = Field(16, ge=1, le=64)
    most: int = Field(20, ge=2)

    def build(self, context: TrainingContext) -> Any:
        shown, count = _epochs(context.epochs, self.most), self.count
        folder = context.folder / FOLDER

        class Drawing(context.library.callbacks.Callback):  # type: ignore[name-defined]
            def on_train_begin(self, logs: Any = None) -> None:
                if not hasattr(self.model, "pictures"):
                    raise UserError("train.callbacks: samples are pictures of models that make some, and this one does "
                                    "not; leave it out")
                self._inputs = _first(context, count)

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                if epoch + 1 in shown:
                    made = np.asarray(self.model.pictures(self._inputs), np.float32)
                    _write(np.clip(np.round(made), 0, 255).astype(np.uint8), folder / f"epoch_{epoch + 1:04}.png")
                    _stack(folder, made.shape[1], context.folder / BY_EPOCH)

        return Drawing()


def _epochs(epochs: int, most: int) -> set[int]:
    """Return the epochs, counted from 1, that are shown."""
    return {round(number) for number in np.linspace(1, epochs, min(most, epochs)).tolist()}


def _first(context: TrainingContext, count: int) -> dict[str, np.ndarray]:
    """Return the inputs of the first training examples, by name."""
    batches: list[dict[str, np.ndarray]] = []
    for position in itertools.count():
        try:
            inputs, _ = context.batch_at(0, position)
        except StopIteration:  # fewer examples than are to be shown
            break
        batches.append(inputs)
        if sum(len(next(iter(batch.values()))) for batch in batches) >= count:
            break
    return {name: np.concatenate([batch[name] for batch in batches])[:count] for name in batches[0]}


def _write(images: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(tiled(images, min(COLUMNS, len(images))), path)


def _stack(folder: Path, height: int, path: Path) -> None:
    """Write the first row of each grid, the first epoch's above."""
    grids = [np.asarray(PIL.Image.open(one)) for one in sorted(folder.glob("*.png"))]
    _save(np.concatenate([grid[:height + LINE] for grid in grids]), path)


def _save(pixels: np.ndarray, path: Path) -> None:
    """Write a picture whole or not at all."""
    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    with whole(path) as beside:
        PIL.Image.fromarray(flat).save(beside, "PNG")
