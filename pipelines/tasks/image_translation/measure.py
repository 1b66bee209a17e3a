"""What translated images are worth: how like their targets they are, and how well the way back goes."""
from __future__ import annotations

from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.tasks.evaluation import Evaluation, Metric, rounded

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

SSIM, PSNR, CYCLE = "ssim", "psnr", "cycle_error"
METRICS = (Metric(name=SSIM, label="SSIM"), Metric(name=PSNR, label="PSNR (dB)"))
CYCLE_ERROR = Metric(name=CYCLE, label="cycle error", better="lower", relative=True, shown=False)
TARGET, GENERATED, CYCLED, IMAGE = "target", "generated", "cycled", "image"
#: The side of the window that structural similarity looks through, in pixels.
WINDOW = 11
WHITE = 255.0
#: Of images that are the same, dB.
SAME = 100.0


class Likeness:
    """Compares pictures with their targets, and images with what comes back of them: a few numbers for each.

    Args:
        paired: whether there are targets to compare with.
    """

    def __init__(self, paired: bool = True):
        self.paired = paired
        self.values: dict[str, list[np.ndarray]] = {}

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Compare a batch; return what is missing of a structural similarity of 1 or, without targets, the cycle error
        as a share of white."""
        if CYCLED in outputs:
            self._note(CYCLE, distance(outputs[CYCLED], outputs[IMAGE]))
        if not self.paired:
            return self.values[CYCLE][-1] / WHITE
        pictures = levels(outputs[GENERATED])
        self._note(SSIM, similarity(pictures, targets[TARGET]))
        self._note(PSNR, signal_to_noise(pictures, targets[TARGET]))
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


def signal_to_noise(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the peak signal-to-noise ratio of images 0..255 in dB, (images,), 100 at most."""
    squares = (images.astype(float) - others.astype(float)) ** 2
    error = squares.reshape(len(squares), -1).mean(axis=1)
    return np.minimum(SAME, 10 * np.log10(WHITE ** 2 / np.maximum(error, 1e-12)))


def distance(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the mean distance of two images' pixels, in levels of 255, (images,)."""
    far = np.abs(images.astype(float) - others.astype(float))
    return far.reshape(len(far), -1).mean(axis=1)


def levels(values: np.ndarray) -> np.ndarray:
    """Return pixels 0..255 as what is shown, uint8."""
    return np.clip(np.round(values), 0, WHITE).astype(np.uint8)
