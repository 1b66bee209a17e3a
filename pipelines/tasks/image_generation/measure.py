"""What pictures are worth: how far they are from the test images as a judge sees both, and what it takes them for."""
from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.figures import figures
from pipelines.figures.tiles import COLUMNS, tiled
from pipelines.tasks.evaluation import Evaluation, Figure, Metric, Table, rounded
from pipelines.tasks.image_generation import distances, to_keras
from pipelines.tasks.image_generation.seen import Judging, Seen

with epy.lazy_imports():
    import numpy as np

#: Distances, whose names say by what stands behind them in which features; bits; and how near images come back, in dB.
FID, KID, BITS, RECONSTRUCTION = "fid", "kid", "bits_per_dimension", "reconstruction_psnr"
OTHERS = (Metric(name="precision"), Metric(name="recall"),
          Metric(name="least_class", label="share of the rarest class", shown=False),
          Metric(name="class_accuracy", label="class asked for", shown=False),
          Metric(name=BITS, label="bits per dimension", better="lower", relative=True, shown=False),
          Metric(name=RECONSTRUCTION, label="PSNR of images made again", shown=False), *to_keras.METRICS)
#: What a task answers: the pictures, the images beside them, and the classes or texts that were asked for.
GENERATED, REAL, CONDITION, TOKENS = "generated", "image", "condition", "tokens"
#: The class of a test example: what a text about it asks for.
LABEL = "label"
#: Pictures that the report shows at first, and those that the judge is least sure of.
SHOWN, UNSURE = 80, 20


class Pictures:
    """Collects what a judge says of pictures and of the test images, a few hundred bytes for each.

    Args:
        judge: makes the judge, once it is needed.
        names: of the judge's classes.
    """

    def __init__(self, judge: Callable[[], Judging], names: Sequence[str]):
        self._judge = functools.cache(judge)
        self.names = list(names)
        self.made: list[Seen] = []
        self.real: list[Seen] = []
        self.asked: list[np.ndarray] = []
        self.first: list[np.ndarray] = []
        self.unsure: list[tuple[float, np.ndarray]] = []
        self.to_keras = to_keras.ToKeras(self._judge)
        self.folder: Path | None = None

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Look at a batch; return how unsure the judge is of each picture: above 0 where it takes it for another class
        than was asked for, or, where none was, sees none with a probability of one half; NaN where it knows no
        classes."""
        pictures = levels(outputs[GENERATED])
        self.made.append(self._judge().look(pictures))
        self.real.append(self._judge().look(levels(outputs[REAL])))
        if sum(map(len, self.first)) < SHOWN:
            self.first.append(pictures)
        self.to_keras.add(pictures, self.made[-1])
        scores = self.made[-1].scores
        if not scores.shape[1]:
            return np.full(len(pictures), np.nan)
        if CONDITION in outputs or (TOKENS in outputs and LABEL in targets):
            requested = np.argmax(outputs[CONDITION], axis=1) if CONDITION in outputs else np.asarray(targets[LABEL])
            self.asked.append(requested)
            wrong = 0.5 - scores[np.arange(len(scores)), requested]
        else:
            wrong = 0.5 - scores.max(axis=1)
        both = [*self.unsure, *((float(one), picture) for one, picture in zip(wrong, pictures, strict=True))]
        self.unsure = sorted(both, key=lambda pair: -pair[0])[:UNSURE]
        return wrong

    def result(self, folder: Path | None = None) -> Evaluation:
        judge, made, real = self._judge(), joined(self.made), joined(self.real)
        metrics = {**compared(made, real, judge.suffix), **self.to_keras.metrics()}
        if self.asked:
            metrics["class_accuracy"] = float((made.scores.argmax(axis=1) == np.concatenate(self.asked)).mean())
        count = len(made.features)
        limits = [f"Distances are measured on {count:,} pictures and as many test images, in the features of "
                  f"{judge.what}: they compare with those of the same judge and as many pictures alone."]
        tables = []
        if judge.classes:
            table, limit = self._classes(made, real)
            tables.append(table)
            limits.append(limit)
        return Evaluation(metrics=rounded(metrics), tables=tables, limits=limits,
                          figures=self._drawn(folder) if folder is not None else [])

    def _classes(self, made: Seen, real: Seen) -> tuple[Table, str]:
        """Return what the judge takes pictures and test images for, and a sentence on the rarest class."""
        shares, of_real = (np.bincount(one.scores.argmax(axis=1), minlength=made.scores.shape[1]) / len(one.scores)
                           for one in (made, real))
        rows: list[list[str | int | float]] = [[self._name(number), round(float(share), 4), round(float(other), 4)]
                                               for number, (share, other) in enumerate(zip(shares, of_real,
                                                                                           strict=True))]
        table = Table(title=f"What the judge takes {len(made.scores):,} pictures for, and as many test images",
                      columns=["class", "pictures", "test images"], rows=rows)
        rarest = self._name(int(shares.argmin()))
        return table, f"Of all pictures {shares.min():.1%} look like {rarest} to the judge, the fewest of a class."

    def _drawn(self, folder: Path) -> list[Figure]:
        """Draw pictures, and keep them for files to be held against."""
        self.folder = folder
        self.to_keras.keep(folder)
        draw(np.concatenate(self.first)[:SHOWN], folder / "generated.png")
        figures = [Figure(file="generated.png", caption="Pictures of the noise of the first test examples, as they "
                                                        "come")]
        if self.unsure:
            draw(np.stack([picture for _, picture in self.unsure]), folder / "unsure.png")
            figures.append(Figure(file="unsure.png", caption="The pictures that the judge is least sure of"))
        return figures

    def _name(self, number: int) -> str:
        return self.names[number] if number < len(self.names) else f"class {number}"


def metrics_in(suffix: str) -> tuple[Metric, ...]:
    """Return what is measured of pictures.

    Args:
        suffix: of the judge.
    """
    features = f" ({suffix[1:]})" if suffix else ""
    return (Metric(name=f"{FID}{suffix}", label=f"FID{features}", better="lower", relative=True),
            Metric(name=f"{KID}{suffix}", label=f"KID{features}", better="lower"), *OTHERS)


def compared(made: Seen, real: Seen, suffix: str) -> dict[str, float]:
    """Return the metrics of pictures beside real images.

    Args:
        suffix: of the judge.
    """
    precision, recall = distances.precision_and_recall(made.features, real.features)
    known = {f"{FID}{suffix}": distances.frechet(made.features, real.features),
             f"{KID}{suffix}": distances.kernel(made.features, real.features),
             "precision": precision, "recall": recall}
    if not made.scores.shape[1]:
        return known
    counts = np.bincount(made.scores.argmax(axis=1), minlength=made.scores.shape[1])
    return {**known, "least_class": float(counts.min() / counts.sum())}


def joined(parts: Sequence[Seen]) -> Seen:
    """Return what was said of several batches."""
    return Seen(np.concatenate([one.features for one in parts]), np.concatenate([one.scores for one in parts]))


def levels(values: np.ndarray) -> np.ndarray:
    """Return pixels 0..255 as what is shown, uint8."""
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def draw(images: np.ndarray, path: Path, columns: int = COLUMNS, title: str = "") -> None:
    """Draw images, uint8 (images, height, width, channels), row by row."""
    canvas = tiled(images, columns)
    figure = figures.new_figure(8, max(1.0, 8 * canvas.shape[0] / canvas.shape[1]))
    axes = figure.add_subplot()
    axes.imshow(canvas[..., 0] if canvas.shape[-1] == 1 else canvas, cmap="gray", vmin=0, vmax=255)
    axes.axis("off")
    axes.set_title(title, fontsize=8)
    figures.save(figure, path)
