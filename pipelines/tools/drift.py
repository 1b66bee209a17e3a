"""`litepress drift`: what a server was asked, and answered, against what its model learnt on."""
from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy
from pydantic import BaseModel

from export.signature import Arrays
from pipelines.errors import UserError
from pipelines.features.feature import Feature
from pipelines.figures import figures
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import Reader
from pipelines.recipe.recipe import Recipe
from pipelines.tools.few_examples import few_examples
from pipelines.tools.replay import check_logs

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Population stability index: below the first there is no drift worth mentioning, above the second there is
#: (N. Siddiqi, "Credit Risk Scorecards", 2006).
SOME, MUCH = 0.1, 0.25
BINS = 10
#: With fewer logged examples an index says little.
LEAST = 30
#: Training examples to compare with, at least.
TRAINED = 500
#: Examples whose properties are computed at a time.
CHUNK = 256
#: The shift of the answered classes.
CLASSES = "classes"
#: The shift of what was answered where the targets are not one number each.
ANSWERS = "answers"


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
    """A log against the training set.

    Args:
        examples: that were logged.
        classes: name to its share of the training examples and of the answers.
    """

    examples: int
    shifts: list[Shift]
    classes: dict[str, tuple[float, float]] = {}

    @property
    def worst(self) -> float:
        return max((shift.index for shift in self.shifts), default=0.0)


@dataclasses.dataclass
class Logged:
    """What a log holds.

    Args:
        inputs: of each example, by name: an array, or the bytes of the file that it comes from.
        outputs: of each Predict request that has some, by name, as batches.
        classes: the best class that Classify gave each example.
        numbers: what Regress gave each example.
    """

    inputs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    outputs: list[dict[str, np.ndarray]] = dataclasses.field(default_factory=list)
    classes: list[str] = dataclasses.field(default_factory=list)
    numbers: list[float] = dataclasses.field(default_factory=list)


def drift(written: dict[str, Any], logs: list[Path], limit: int, figure: Path | None) -> Drift:
    """Compare the inputs of a log, and the answers to them, with the training set. Raises UserError.

    Args:
        written: the recipe.
        logs: TFRecord files of PredictionLog.
        limit: examples to read, at most.
        figure: where to draw the distributions.
    """
    recipe = Recipe.model_validate(written)
    recipe.data.source.prepare()
    reader = Reader(recipe.data, recipe.task)
    logged = _read(check_logs(logs), {name: reader.features[name] for name in reader.inputs}, limit)
    if len(logged.inputs) < LEAST:
        raise UserError(f"drift: {len(logged.inputs)} examples were logged; give at least {LEAST}")
    data = few_examples(recipe, max(len(logged.inputs), TRAINED), spread=True, download=True)
    inputs, targets = data.arrays("train", data.index.splits["train"].examples)
    before = _properties(data, inputs)
    after = _properties(data, _decoded(data, logged.inputs))
    shifts = [Shift(name=name, index=stability(before[name], after[name]), trained=_mean(before[name]),
                    logged=_mean(after[name])) for name in before]
    answers, classes = _answers(data, targets, logged)
    if figure is not None:
        draw(before, after, shifts, figure)
    return Drift(examples=len(logged.inputs), shifts=[*shifts, *answers], classes=classes)


def _read(logs: list[Path], features: Mapping[str, Feature], limit: int) -> Logged:
    """Return what the Predict, Classify and Regress requests of logs hold. Raises UserError.

    Args:
        features: of the inputs, by their names.
    """
    from serving import replay as replaying
    from serving.errors import ServingError

    logged = Logged()
    try:
        for record in replaying.records(logs):
            kind = record.WhichOneof("log_type")
            if kind == "predict_log":
                _read_predict(record.predict_log, list(features), logged)
            elif kind == "classify_log":
                logged.inputs += _read_examples(record.classify_log.request.input, features)
                logged.classes += [max(one.classes, key=lambda known: known.score).label
                                   for one in record.classify_log.response.result.classifications if one.classes]
            elif kind == "regress_log":
                logged.inputs += _read_examples(record.regress_log.request.input, features)
                logged.numbers += [one.value for one in record.regress_log.response.result.regressions]
            if len(logged.inputs) >= limit:
                break
    except (ValueError, ServingError) as error:
        raise UserError(f"drift: {error}") from error
    return logged


def _read_predict(log: Any, names: Sequence[str], logged: Logged) -> None:
    """Add the examples of a Predict request that has all the inputs, as arrays or as the files that they come from."""
    from serving import tensors

    sent = {name: tensors.to_array(value, name) for name, value in log.request.inputs.items()}
    columns = {name: sent.get(name, sent.get(f"{name}_bytes")) for name in names}
    if any(values is None for values in columns.values()):
        return
    logged.inputs += [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    logged.outputs.append({name: tensors.to_array(value, name) for name, value in log.response.outputs.items()})


def _read_examples(value: Any, features: Mapping[str, Feature]) -> Iterator[dict[str, Any]]:
    """Yield what the tf.train.Example messages of an Input hold of each feature: a file, or a number or word of its
    name. What one lacks is missing; those that lack what may not be, or everything, are another model's."""
    from serving import examples

    for serialized in examples.serialized(value):
        known = tf.train.Example.FromString(serialized).features.feature
        values = {name: _value(known, name) for name in features}
        if all(one is None for one in values.values()):
            continue
        whole = {name: features[name].absent() if one is None else one for name, one in values.items()}
        if all(one is not None for one in whole.values()):
            yield whole


def _value(known: Mapping[str, Any], name: str) -> Any:
    """Return the first value of an Example's feature; None where it has none."""
    feature = known.get(f"{name}/encoded", known.get(name))
    kind = feature.WhichOneof("kind") if feature is not None else None
    return next(iter(getattr(feature, kind).value), None) if kind else None


def _decoded(data: Data, examples: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return logged inputs as the model sees them, (examples, ...). Raises UserError where another model was asked."""
    inputs: dict[str, np.ndarray] = {}
    for name, tensor in data.index.inputs.items():
        feature, learnt = data.features[name], data.index.learnt[name]
        values = [feature.load(tf.constant(value), learnt).numpy() if isinstance(value, bytes) else np.asarray(value)
                  for value in (example[name] for example in examples)]
        wrong = next((value for value in values if not _fits(value.shape, tensor.shape)), None)
        if wrong is not None:
            raise UserError(f"drift: {name} is {_shown(wrong.shape)} in the log and {_shown(tensor.shape)} in the "
                            "recipe: is it this model's log?")
        inputs[name] = np.stack(values).astype(tensor.dtype)
    return inputs


def _fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    return len(shape) == len(expected) and all(size in (None, one) for one, size in zip(shape, expected, strict=True))


def _shown(shape: Sequence[int | None]) -> str:
    return " x ".join("?" if size is None else str(size) for size in shape) or "one number"


def _properties(data: Data, inputs: Arrays) -> dict[str, np.ndarray]:
    """Return a number per example for each property of the inputs, (examples,)."""
    result: dict[str, np.ndarray] = {}
    for name, values in inputs.items():
        chunks = [data.features[name].properties(values[start:start + CHUNK]) for start in range(0, len(values), CHUNK)]
        for kind in chunks[0]:
            title = kind if len(inputs) == 1 else f"{name} {kind}"
            result[title] = np.concatenate([chunk[kind] for chunk in chunks])
    return result


def _answers(data: Data, targets: Arrays, logged: Logged) -> tuple[list[Shift], dict[str, tuple[float, float]]]:
    """Return how far the answers are from the training targets, and the share of each class in both."""
    target = next((name for name, tensor in data.index.targets.items() if not tensor.shape), None)
    names = data.index.names(target) if target is not None else []
    of_examples = [names.index(one) for one in logged.classes if one in names] if names else logged.numbers
    decided = [*_decisions(data, logged.outputs), *([np.array(of_examples)] if of_examples else [])]
    trained = targets[target] if target is not None else data.task.decided(targets)
    if trained is None or not decided:
        return [], {}
    answered = np.concatenate(decided)
    if not names:
        return [Shift(name=target or ANSWERS, index=stability(trained, answered), trained=float(trained.mean()),
                      logged=float(answered.mean()))], {}
    before, after = (np.bincount(values, minlength=len(names))[:len(names)] / len(values)
                     for values in (trained, answered))
    shift = Shift(name=CLASSES, index=_index(before, after), trained=float(before.max()), logged=float(after.max()))
    return [shift], {name: (float(one), float(other)) for name, one, other in zip(names, before, after, strict=True)}


def _decisions(data: Data, outputs: Sequence[Arrays]) -> Iterator[np.ndarray]:
    """Yield what was answered in each request, a class or number per example, where its outputs say it."""
    for batch in outputs:
        with contextlib.suppress(KeyError):  # a client may ask for some outputs alone
            decided = data.task.decision(batch) if batch else None
            if decided is not None:
                yield decided


def stability(before: np.ndarray, after: np.ndarray) -> float:
    """Return the population stability index of one number per example, over tenths of the first and the share that is
    missing, NaN."""
    known = before[before == before]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.zeros(1)
    bins = [np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values)) for values in (before, after)]
    shares = [np.bincount(numbers, minlength=len(edges) + 2) / len(numbers) for numbers in bins]
    return _index(*shares)


def _mean(values: np.ndarray) -> float:
    """Return the mean of what is not missing; 0 where all is."""
    known = values[values == values]
    return float(known.mean()) if len(known) else 0.0


def _index(before: np.ndarray, after: np.ndarray) -> float:
    floor = 1e-3  # an empty bin counts as a thousandth, not as infinity
    before, after = np.maximum(before, floor), np.maximum(after, floor)
    return float(((after - before) * np.log(after / before)).sum())


def lines(result: Drift) -> list[str]:
    """Return drift, for a terminal."""
    output = [f"{result.examples:,} logged examples against the training set",
              f"  {'':<12} {'index':>7} {'trained':>9} {'logged':>9}  drift"]
    for one in result.shifts:
        output.append(f"  {one.name:<12} {one.index:>7.3f} {one.trained:>9.2f} {one.logged:>9.2f}  {one.verdict}")
    classes = next((shift for shift in result.shifts if shift.name == CLASSES), None)
    if classes is not None and classes.index > SOME:
        moved = sorted(result.classes.items(), key=lambda item: -abs(item[1][1] - item[1][0]))[:3]
        shown = ", ".join(f"{name} {before:.1%} -> {after:.1%}" for name, (before, after) in moved)
        output.append(f"  classes that moved most: {shown}")
    return output


def draw(before: Arrays, after: Arrays, shifts: Sequence[Shift], path: Path) -> None:
    """Draw the distribution of each property, trained and logged.

    Args:
        before, after: a number per example of each property.
        shifts: in the same order.
    """
    figure = figures.new_figure(3 * max(1, len(shifts)), 3)
    for number, shift in enumerate(shifts):
        axes = figure.add_subplot(1, len(shifts), number + 1)
        samples = before[shift.name], after[shift.name]
        together = np.concatenate(samples)
        edges = np.histogram_bin_edges(together[together == together], 24)
        for values, label in zip(samples, ("trained on", "logged"), strict=True):
            axes.hist(values, edges.tolist(), density=True, alpha=0.6, label=label)
        axes.set_title(f"{shift.name}: {shift.index:.2f} ({shift.verdict})")
        axes.set_yticks([])
    if figure.axes:
        figure.axes[0].legend()
    figures.save(figure, path)
