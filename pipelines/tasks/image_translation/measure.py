"""What translated images are worth: how like their targets they are, and how well the way back goes."""
from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.tasks.evaluation import Evaluation, Metric, rounded
from pipelines.tasks.image_translation.perceptual import LPIPS, Perceptual
from pipelines.tasks.signal_to_noise import WHITE, signal_to_noise

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

SSIM, PSNR, CYCLE = "ssim", "psnr", "cycle_error"
METRICS = (Metric(name=SSIM, label="SSIM"), Metric(name=PSNR, label="PSNR (dB)"))
CYCLE_ERROR = Metric(name=CYCLE, label="cycle error", better="lower", relative=True, shown=False)
TARGET, GENERATED, CYCLED, IMAGE = "target", "generated", "cycled", "image"
#: The side of the window that structural similarity looks through, in pixels.
WINDOW = 11


class Likeness:
    """Compares pictures with their targets, and images with what comes back of them: a few numbers for each.

    Args:
        paired: whether there are targets to compare with.
        unlike: makes what says how unlike pictures are to their targets to a judge, where there is one.
    """

    def __init__(self, paired: bool = True, unlike: Callable[[], Perceptual] | None = None):
        self.paired = paired
        self._unlike = functools.cache(unlike) if unlike is not None else None
        self.values: dict[str, list[np.ndarray]] = {}

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Compare a batch; return what is missing of a structural similarity of 1 or, without targets, the cycle error
        as a share of white. Raises ValueError where nothing comes back that could be measured."""
        if CYCLED in outputs:
            self._note(CYCLE, distance(outputs[CYCLED], outputs[IMAGE]))
        if not self.paired:
            if CYCLED not in outputs:
                raise ValueError("nothing comes back of what it makes, and cycle_error is all that is measured: "
                                 "task.image_translation.test is cycles")
            return self.values[CYCLE][-1] / WHITE
        pictures = levels(outputs[GENERATED])
        self._note(SSIM, similarity(pictures, targets[TARGET]))
        self._note(PSNR, signal_to_noise(pictures, targets[TARGET]))
        if self._unlike is not None:
            self._note(LPIPS, self._unlike().distance(pictures, targets[TARGET]))
        return 1 - self.values[SSIM][-1]

    def result(self, folder: Path | None = None) -> Evaluation:
        means = {name: float(np.concatenate(values).mean()) for name, values in self.values.items()}
        return Evaluation(metrics=rounded(means))

    def _note(self, name: str, values: np.ndarray) -> None:
        self.values.setdefault(name, []).append(values)


def similarity(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the structural similarity of images 0..255, (images,), with a Gaussian window of 11 x 11 pixels (Wang et
    al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004)."""
    one, other = (tf.constant(values.astype(np.float32)) for values in (images, others))
    return tf.image.ssim(one, other, WHITE, filter_size=WINDOW).numpy()  # type: ignore[no-any-return]


def distance(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the mean distance of two images' pixels, in levels of 255, (images,)."""
    far = np.abs(images.astype(float) - others.astype(float))
    return far.reshape(len(far), -1).mean(axis=1)


def levels(values: np.ndarray) -> np.ndarray:
    """Return pixels 0..255 as what is shown, uint8."""
    return np.clip(np.round(values), 0, WHITE).astype(np.uint8)
