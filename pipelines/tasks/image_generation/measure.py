"""What pictures are worth: how far they are from the test images as a judge sees both, and what it takes them for."""
from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.figures import figures
from pipelines.tasks.evaluation import Evaluation, Figure, Metric, Table, rounded
from pipelines.tasks.image_generation import distances
from pipelines.tasks.image_generation.judge import Judge, Seen

with epy.lazy_imports():
    import numpy as np

FID, KID, BITS = "fid_classifier", "kid_classifier", "bits_per_dimension"
RECONSTRUCTION = "reconstruction_psnr"
METRICS = (Metric(name=FID, label="FID (classifier)", better="lower", relative=True),
           Metric(name=KID, label="KID (classifier)", better="lower"),
           Metric(name="precision"), Metric(name="recall"),
           Metric(name="least_class", label="share of the rarest class", shown=False),
           Metric(name="class_accuracy", label="class asked for", shown=False),
           Metric(name=BITS, label="bits per dimension", better="lower", relative=True, shown=False),
           Metric(name=RECONSTRUCTION, label="PSNR of images made again", shown=False))
#: What a task answers: the pictures, the images beside them, and the classes or texts that were asked for.
GENERATED, REAL, CONDITION, TOKENS = "generated", "image", "condition", "tokens"
#: The class of a test example: what a text about it asks for.
LABEL = "label"
#: Pictures that the report shows at first, those that the judge is least sure of, and pictures in a row.
SHOWN, UNSURE, COLUMNS = 80, 20, 10


class Pictures:
    """Collects what a judge says of pictures and of the test images, a few hundred bytes for each.

    Args:
        judge: makes the judge, once it is needed.
        names: of the judge's classes.
    """

    def __init__(self, judge: Callable[[], Judge], names: Sequence[str]):
        self._judge = functools.cache(judge)
        self.names = list(names)
        self.made: list[Seen] = []
        self.real: list[Seen] = []
        self.asked: list[np.ndarray] = []
        self.first: list[np.ndarray] = []
        self.unsure: list[tuple[float, np.ndarray]] = []

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Look at a batch; return how unsure the judge is of each picture: above 0 where it takes it for another class
        than was asked for, or, where none was, sees none with a probability of one half."""
        pictures = levels(outputs[GENERATED])
        self.made.append(self._judge().look(pictures))
        self.real.append(self._judge().look(levels(outputs[REAL])))
        if sum(map(len, self.first)) < SHOWN:
            self.first.append(pictures)
        scores = self.made[-1].scores
        if CONDITION in outputs or TOKENS in outputs:
            requested = np.argmax(outputs[CONDITION], axis=1) if CONDITION in outputs else np.asarray(targets[LABEL])
            self.asked.append(requested)
            wrong = 0.5 - scores[np.arange(len(scores)), requested]
        else:
            wrong = 0.5 - scores.max(axis=1)
        both = [*self.unsure, *((float(one), picture) for one, picture in zip(wrong, pictures, strict=True))]
        self.unsure = sorted(both, key=lambda pair: -pair[0])[:UNSURE]
        return wrong

    def result(self, folder: Path | None = None) -> Evaluation:
        made, real = joined(self.made), joined(self.real)
        metrics = compared(made, real)
        seen = made.scores.argmax(axis=1)
        if self.asked:
            metrics["class_accuracy"] = float((seen == np.concatenate(self.asked)).mean())
        drawn = []
        if folder is not None:
            draw(np.concatenate(self.first)[:SHOWN], folder / "generated.png")
            draw(np.stack([picture for _, picture in self.unsure]), folder / "unsure.png")
            drawn = [Figure(file="generated.png", caption="Pictures of the noise of the first test examples, as they "
                                                          "come"),
                     Figure(file="unsure.png", caption="The pictures that the judge is least sure of")]
        shares, of_real = (np.bincount(one.scores.argmax(axis=1), minlength=made.scores.shape[1]) / len(one.scores)
                           for one in (made, real))
        rows: list[list[str | int | float]] = [[self._name(number), round(float(share), 4), round(float(other), 4)]
                                               for number, (share, other) in enumerate(zip(shares, of_real,
                                                                                           strict=True))]
        table = Table(title=f"What the judge takes {len(seen):,} pictures for, and as many test images",
                      columns=["class", "pictures", "test images"], rows=rows)
        rarest = self._name(int(shares.argmin()))
        return Evaluation(
            metrics=rounded(metrics), tables=[table], figures=drawn,
            limits=[f"Distances are measured on {len(seen):,} pictures and as many test images, in the features of a "
                    "classifier that was trained for them: they compare with those of the same judge and as many "
                    "pictures alone.",
                    f"Of all pictures {shares.min():.1%} look like {rarest} to the judge, the fewest of a class."])

    def _name(self, number: int) -> str:
        return self.names[number] if number < len(self.names) else f"class {number}"


def compared(made: Seen, real: Seen) -> dict[str, float]:
    """Return the metrics of pictures beside real images."""
    precision, recall = distances.precision_and_recall(made.features, real.features)
    counts = np.bincount(made.scores.argmax(axis=1), minlength=made.scores.shape[1])
    return {FID: distances.frechet(made.features, real.features), KID: distances.kernel(made.features, real.features),
            "precision": precision, "recall": recall, "least_class": float(counts.min() / counts.sum())}


def joined(parts: Sequence[Seen]) -> Seen:
    """Return what was said of several batches."""
    return Seen(np.concatenate([one.features for one in parts]), np.concatenate([one.scores for one in parts]))


def levels(values: np.ndarray) -> np.ndarray:
    """Return pixels 0..255 as what is shown, uint8."""
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def tiled(images: np.ndarray, columns: int = COLUMNS) -> np.ndarray:
    """Return images, (images, height, width, channels), as one, row by row, with a line between two."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    canvas = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), 128, np.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * (height + 1) + 1, number % columns * (width + 1) + 1
        canvas[top:top + height, left:left + width] = image
    return canvas


def draw(images: np.ndarray, path: Path, columns: int = COLUMNS, title: str = "") -> None:
    """Draw images, uint8 (images, height, width, channels), row by row."""
    canvas = tiled(images, columns)
    figure = figures.new_figure(8, max(1.0, 8 * canvas.shape[0] / canvas.shape[1]))
    axes = figure.add_subplot()
    axes.imshow(canvas[..., 0] if canvas.shape[-1] == 1 else canvas, cmap="gray", vmin=0, vmax=255)
    axes.axis("off")
    axes.set_title(title, fontsize=8)
    figures.save(figure, path)
