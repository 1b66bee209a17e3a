"""`litepress drift`: what a server was asked, and answered, against what its model learnt on."""
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from etils import epy
from pydantic import BaseModel

from export.predictors import IMAGE
from export.targets.saved_model import ENCODED
from pipelines.errors import UserError
from pipelines.ingest.pictures import decode
from pipelines.recipe.recipe import Recipe
from pipelines.tools import check
from pipelines.tools.replay import check_logs

with epy.lazy_imports():
    import numpy as np

#: Population stability index: below the first there is no drift to speak of, above the second there is (N. Siddiqi, "Credit Risk
#: Scorecards", 2006).
SOME, MUCH = 0.1, 0.25
BINS = 10
#: With fewer pictures an index says little.
LEAST = 30


class Shift(BaseModel):
    """How far one property has moved: its population stability index, and its mean in training and in the log."""

    name: str
    index: float
    trained: float
    logged: float

    @property
    def verdict(self) -> str:
        return "drift" if self.index > MUCH else "some" if self.index > SOME else "none"


class Drift(BaseModel):
    """A log against the training set."""

    pictures: int
    shifts: list[Shift]
    classes: dict[str, tuple[float, float]] = {}

    @property
    def worst(self) -> float:
        return max(shift.index for shift in self.shifts)


def drift(written: dict[str, Any], logs: list[Path], limit: int, picture: Path | None) -> Drift:
    """Compares the pictures of a log, and the classes that were answered, with the training set. Raises UserError."""
    recipe = Recipe.model_validate(written)
    logged, answered = _logged(check_logs(logs), recipe, limit)
    if len(logged) < LEAST:
        raise UserError(f"drift: {len(logged)} pictures were logged; give at least {LEAST}")
    with tempfile.TemporaryDirectory(prefix="litepress-drift-") as folder:
        path = Path(folder) / check.EXAMPLES_FILE
        check.take_examples(written, path, max(len(logged), 500))
        examples = np.load(path)
        trained, labels, classes = examples["images"], examples["labels"], recipe.data.source.classes()
    shifts = [Shift(name=name, index=stability(before, after), trained=float(before.mean()), logged=float(after.mean()))
              for name, (before, after) in {name: (of(trained), of(logged)) for name, of in PROPERTIES.items()}.items()]
    shares = {}
    if len(answered):
        before, after = (np.bincount(values, minlength=len(classes)) / len(values) for values in (labels, answered))
        shifts.append(Shift(name="classes", index=_index(before, after), trained=float(before.max()), logged=float(after.max())))
        shares = {name: (float(one), float(other)) for name, one, other in zip(classes, before, after, strict=True)}
    found = Drift(pictures=len(logged), shifts=shifts, classes=shares)
    if picture is not None:
        draw(trained, logged, found, picture)
    return found


def _logged(logs: list[Path], recipe: Recipe, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of a log, uint8 (pictures, height, width, channels), and the classes that were answered, as far as they are logged."""
    from serving import replay as replaying
    from serving import tensors

    images: list[np.ndarray] = []
    answered: list[int] = []
    try:
        for record in replaying.records(logs):
            kind = record.WhichOneof("log_type")
            if kind == "predict_log":
                inputs, outputs = record.predict_log.request.inputs, record.predict_log.response.outputs
                name, value = next(iter(inputs.items()))
                array = tensors.to_array(value, name)
                images += list(array) if name == IMAGE else [decode(file, recipe.data.image).numpy() for file in array.tolist()]
                scores = outputs.get("logits", outputs.get("scores"))
                answered += tensors.to_array(scores, "scores").argmax(axis=1).tolist() if scores is not None else []
            elif kind == "classify_log":
                images += [decode(one.features.feature[ENCODED].bytes_list.value[0], recipe.data.image).numpy()
                           for one in record.classify_log.request.input.example_list.examples]
            if len(images) >= limit:
                break
    except ValueError as error:
        raise UserError(f"drift: {error}") from error
    wrong = next((image for image in images if image.shape != tuple(recipe.data.image.shape)), None)
    if wrong is not None:
        raise UserError(f"drift: the log has pictures of {' x '.join(map(str, wrong.shape))}, the recipe of "
                        f"{' x '.join(map(str, recipe.data.image.shape))}: is it this model's log?")
    return np.stack(images).astype("uint8") if images else np.zeros((0,)), np.array(answered, int)


def stability(before: np.ndarray, after: np.ndarray) -> float:
    """The population stability index of one number per picture, over tenths of the first."""
    edges = np.unique(np.quantile(before, np.linspace(0, 1, BINS + 1)[1:-1]))
    shares = [np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) / len(values) for values in (before, after)]
    return _index(*shares)


def _index(before: np.ndarray, after: np.ndarray) -> float:
    floor = 1e-3  # an empty bin counts as a thousandth, not as infinity
    before, after = np.maximum(before, floor), np.maximum(after, floor)
    return float(((after - before) * np.log(after / before)).sum())


def _sharpness(images: np.ndarray) -> np.ndarray:
    grey = images.astype("float32").mean(axis=-1)
    return np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2)) + np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))


#: A number for each picture.
PROPERTIES = {"brightness": lambda images: images.reshape(len(images), -1).mean(axis=1),
              "contrast": lambda images: images.reshape(len(images), -1).std(axis=1), "sharpness": _sharpness}


def lines(found: Drift) -> list[str]:
    """Drift as lines."""
    told = [f"{found.pictures:,} logged pictures against the training set", f"  {'':<12} {'index':>7} {'trained':>9} {'logged':>9}  drift"]
    told += [f"  {one.name:<12} {one.index:>7.3f} {one.trained:>9.2f} {one.logged:>9.2f}  {one.verdict}" for one in found.shifts]
    moved = sorted(found.classes.items(), key=lambda item: -abs(item[1][1] - item[1][0]))[:3]
    if moved and found.shifts[-1].index > SOME:
        told.append("  classes that moved most: " + ", ".join(f"{name} {before:.1%} -> {after:.1%}" for name, (before, after) in moved))
    return told


def draw(trained: np.ndarray, logged: np.ndarray, found: Drift, path: Path) -> None:
    """The distribution of each property, trained and logged."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    for axes, (name, of), shift in zip(figure.subplots(1, len(PROPERTIES)), PROPERTIES.items(), found.shifts, strict=False):
        edges = np.histogram_bin_edges(np.concatenate([of(trained), of(logged)]), 24)
        for values, label in ((of(trained), "trained on"), (of(logged), "logged")):
            axes.hist(values, edges, density=True, alpha=0.6, label=label)
        axes.set_title(f"{name}: {shift.index:.2f} ({shift.verdict})")
        axes.set_yticks([])
    figure.axes[0].legend()
    figure.savefig(path, dpi=130)
