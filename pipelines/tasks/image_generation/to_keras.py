"""How near a file's pictures are to the trained model's of the same noise."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from etils import epy

from export.signature import Arrays, Tensor
from pipelines.tasks.compared import Compared
from pipelines.tasks.evaluation import Metric
from pipelines.tasks.image_generation.seen import Judging, Seen
from pipelines.tasks.signal_to_noise import signal_to_noise

with epy.lazy_imports():
    import numpy as np

#: Beside the trained model's: the peak signal-to-noise ratio, and the share that the judge takes for the same class.
PSNR, SAME_CLASS = "psnr_to_keras", "same_class"
METRICS = (Metric(name=PSNR, label="PSNR to Keras (dB)", shown=False),
           Metric(name=SAME_CLASS, label="same class as Keras's", shown=False))
#: The trained model's pictures, as the measure leaves them, and where they go beside what the network itself said.
PICTURES, KEPT = "pictures.npy", "generated.npy"
GENERATED = "generated"
#: Pictures that are kept take less than this.
MOST_BYTES = 128 * 2 ** 20


class ToKeras:
    """Compares the pictures of a file with those of the trained model.

    Verify asks a file batch by batch: the task measures its pictures, and then what the trained model gave is compared
    with what the file gave. Both come here.

    Args:
        judge: tells which classes pictures are of.
    """

    def __init__(self, judge: Callable[[], Judging]):
        self._judge = judge
        self._made: tuple[np.ndarray, Seen] | None = None
        self._decibels: list[np.ndarray] = []
        self._same: list[np.ndarray] = []
        self._kept: list[np.ndarray] = []
        self._is_full = False

    def add(self, pictures: np.ndarray, seen: Seen) -> None:
        """Take the next batch of a file's pictures, uint8, and what the judge says of them."""
        self._made = pictures, seen
        taken = sum(one.nbytes for one in (*self._kept, pictures))
        self._is_full |= bool(self._kept) and taken > MOST_BYTES
        if not self._is_full:
            self._kept.append(pictures)

    def compare(self, expected: np.ndarray) -> None:
        """Hold the last batch against the trained model's pictures, uint8, of the first of its examples."""
        assert self._made is not None
        pictures, seen = self._made
        count = len(expected)
        self._kept.clear()  # these are of a file, which nothing is held against
        self._is_full = True
        self._decibels.append(signal_to_noise(pictures[:count], expected))
        if seen.scores.shape[1]:
            other = self._judge().look(expected).scores
            self._same.append(seen.scores[:count].argmax(axis=1) == other.argmax(axis=1))

    def metrics(self) -> dict[str, float]:
        """Return what was compared: nothing of the trained model itself."""
        known = {PSNR: self._decibels, SAME_CLASS: self._same}
        return {name: float(np.concatenate(values).mean()) for name, values in known.items() if values}

    def keep(self, folder: Path) -> None:
        """Write pictures, which are the trained model's, for files to be held against."""
        np.save(folder / PICTURES, np.concatenate(self._kept))


def compared(tensors: Sequence[Tensor], files: Callable[[], ToKeras | None]) -> Compared:
    """Return how a file is held against the trained model: by what networks give, and by the pictures where these are
    known.

    Args:
        tensors: what networks give.
        files: gives what measures the file that is asked now.
    """
    def expected(outputs: Arrays) -> Arrays:
        measured = files()
        if GENERATED in outputs and measured is not None:
            measured.compare(np.clip(np.round(outputs[GENERATED]), 0, 255).astype(np.uint8))
        return outputs

    return Compared(tensors, expected=expected)


def keep_beside(figures: Path, answers: Path) -> None:
    """Put the trained model's pictures, as `ToKeras.keep` wrote them, among what its network said of the same examples,
    where this is not them. It must come last: until then the model is asked again for all that is there.

    Args:
        answers: the folder of what the network said, an .npy file each; nothing is kept where there is none.
    """
    made, kept = figures / PICTURES, answers / KEPT
    if answers.is_dir() and not kept.exists():
        made.rename(kept)
    else:
        made.unlink()
