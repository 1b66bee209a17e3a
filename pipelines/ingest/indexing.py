"""Indexing a source: every example is read once, counted, and put into a split."""
from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from etils import epy

from pipelines.errors import UserError
from pipelines.features.feature import Feature, Field, Learnt
from pipelines.ingest.grouping import groups_of, taken_groups
from pipelines.ingest.index import Index, Part, Split, Unreadable
from pipelines.ingest.section import DataSection
from pipelines.ingest.sources.source import Source
from pipelines.ingest.tracing import as_written

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from pipelines.tasks.task import Task

CHUNK = 256


class PartIndex:
    """What was seen of one part of a source.

    Args:
        targets: those that are one class per example; of each example that can be read, `classes` has it.
        counted: those whose classes are counted as they are read; of each example `counts` has how often each occurs.
    """

    def __init__(self, targets: Sequence[str], counted: Sequence[str] = ()) -> None:
        self.positions: list[int] = []
        self.classes: dict[str, list[int]] = {target: [] for target in targets}
        self.counts: dict[str, list[np.ndarray]] = {target: [] for target in counted}
        self.unreadable: list[Unreadable] = []

    @property
    def seen(self) -> int:
        return len(self.positions) + len(self.unreadable)


class Reader:
    """Reads a source as a task's features do.

    Args:
        section: where the examples come from, prepared, and the features' settings.
        task: names the features.

    Raises:
        UserError: the source lacks a field.
    """

    def __init__(self, section: DataSection, task: Task):
        self.task = task
        self.source: Source = section.source
        fields = self.source.fields()
        inputs, targets = task.features_of(section, fields)
        self.features: dict[str, Feature] = {**inputs, **targets}
        self.inputs, self.targets = list(inputs), list(targets)
        self.source_fields = fields
        self.fields = {name: self._field(name, feature, fields) for name, feature in self.features.items()}
        self.learnt = {name: feature.learn(self.fields[name], ()) for name, feature in self.features.items()}

    @property
    def classified(self) -> list[str]:
        """Return the targets that are one class per example."""
        return [target for target in self.targets if self.features[target].of_classes]

    def raw(self, name: str, example: Mapping[str, Any]) -> Any:
        """Return a feature's raw value out of a source's example, or its column out of several."""
        return example[self.features[name].field_name(name)]

    def input_fault(self, example: Mapping[str, Any]) -> str | None:
        """Return the first reason why one of the inputs, or a target whose faults are counted, cannot be read; None
        where all can."""
        return self._fault([*self.inputs, *(name for name in self.targets if self.features[name].counts_faults)],
                           example)

    def target_fault(self, example: Mapping[str, Any]) -> str | None:
        """Return the first reason why a target cannot be read or does not fit the rest; None where all do."""
        strict = [name for name in self.targets if not self.features[name].counts_faults]
        return self._fault(strict, example) or self.task.fault(
            {name: self.raw(name, example) for name in self.features})

    def _fault(self, names: Sequence[str], example: Mapping[str, Any]) -> str | None:
        faults = (self.features[name].fault(self.raw(name, example), self.learnt[name]) for name in names)
        return next((reason for reason in faults if reason), None)

    def learn(self, split: Split) -> dict[str, Learnt]:
        """Return what the features have learnt of a split."""
        return {name: feature.learn(self.fields[name], self.values(name, split))
                for name, feature in self.features.items()}

    def values(self, name: str, split: Split) -> Iterator[Any]:
        """Give the raw values of a feature in a split, one after the other."""
        column = self.source.column(split.part, self.features[name].field_name(name), split.positions)
        if column is not None:
            yield from column
            return
        for example in self._examples(split):
            yield self.raw(name, example)

    def checked(self, target: str, split: Split, learnt: Learnt) -> Iterator[Any]:
        """Give the raw values of a target in a split, read by what was learnt of the training split.

        Raises:
            UserError: by that, one cannot be read, which could be before.
        """
        for example in self._examples(split):
            value = self.raw(target, example)
            if learnt != self.learnt[target] and (reason := self.features[target].fault(value, learnt)):
                raise UserError(f"data: {example['id'].decode()} {reason}")
            yield value

    def _examples(self, split: Split) -> Iterator[dict[str, Any]]:
        return as_written(self.source.examples)(split.part, split.positions).as_numpy_iterator()

    def _field(self, name: str, feature: Feature, fields: dict[str, Field]) -> Field:
        field = feature.field_name(name)
        if field not in fields and (reason := self.source.without(field)):
            raise UserError(reason)
        return feature.check(name, fields)


def build_index(section: DataSection, task: Task, seed: int,
                progress: Callable[[int], None] = lambda seen: None) -> Index:
    """Return the index of a source.

    Args:
        section: where the examples come from, prepared; the features' settings; and the shares of the training part
            that become the validation and the test split where the source has none.
        task: what an example is made of, and how examples are divided.
        seed: of the draw.
        progress: called with the number of examples seen so far.

    Raises:
        UserError: the source lacks a field or cannot be read to its end, a target cannot be read, for instance a label
            outside the classes, or a split would be empty.
    """
    reader = Reader(section, task)
    digest = hashlib.sha256()
    parts: dict[Part, PartIndex] = {}
    for part in reader.source.parts():
        before = sum(seen.seen for seen in parts.values())
        parts[part] = _read(part, reader, digest, before, progress)
    splits = _splits(section, task, parts, seed)
    learnt = reader.learn(splits["train"])
    tensors = {name: feature.tensor(name, learnt[name]) for name, feature in reader.features.items()}
    return Index(source=reader.source.entry_name or "", digest=digest.hexdigest(), splits=splits,
                 unreadable=[one for seen in parts.values() for one in seen.unreadable],
                 inputs={name: tensors[name] for name in reader.inputs},
                 targets={name: tensors[name] for name in reader.targets}, learnt=learnt, fields=reader.source_fields,
                 counts={name: _counts(reader, split, parts[split.part], learnt) for name, split in splits.items()})


def check_batch(batch: int, examples: int) -> None:
    """Raise UserError where there are not enough training examples for one batch."""
    if examples < batch:
        raise UserError(f"data.batch is {batch}, but there are only {examples} training examples; give a smaller batch")


def _read(part: Part, reader: Reader, digest: hashlib._Hash, before: int, progress: Callable[[int], None]) -> PartIndex:
    seen = PartIndex(reader.classified, [target for target in reader.targets if reader.features[target].counts_raw])
    digest.update(part.encode())
    try:
        for examples in _chunks(as_written(reader.source.examples)(part)):
            _read_chunk(examples, reader, seen, digest)
            progress(before + seen.seen)
    except tf.errors.OpError as error:
        raise UserError(reader.source.diagnose(part, error)) from error
    return seen


def _read_chunk(examples: list[dict[str, Any]], reader: Reader, seen: PartIndex, digest: hashlib._Hash) -> None:
    def faults_of(example: dict[str, Any]) -> tuple[str | None, str | None]:
        return reader.target_fault(example), reader.input_fault(example)

    with ThreadPoolExecutor() as pool:
        faults = list(pool.map(faults_of, examples))
    first = seen.seen
    for offset, (example, (target_fault, input_fault)) in enumerate(zip(examples, faults, strict=True)):
        name = example["id"].decode()
        for feature in reader.features:
            digest.update(_digest(reader.raw(feature, example)))
        if target_fault:
            raise UserError(f"data: {name} {target_fault}")
        if input_fault:
            seen.unreadable.append(Unreadable(name=name, reason=input_fault))
            continue
        seen.positions.append(first + offset)
        for target, classes in seen.classes.items():
            classes.append(reader.features[target].class_of(reader.raw(target, example), reader.learnt[target]))
        for target, counts in seen.counts.items():
            counts.append(np.asarray(reader.features[target].counts(
                reader.raw(target, example), reader.learnt[target]), "int32"))


def _chunks(dataset: tf.data.Dataset) -> Iterator[list[dict[str, Any]]]:
    """Give the examples in lists, read as batches where all are of one shape, which is faster."""
    if all(spec.shape.is_fully_defined() for spec in dataset.element_spec.values()):
        for batch in dataset.batch(CHUNK).prefetch(1).as_numpy_iterator():
            yield [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        return
    examples = dataset.prefetch(CHUNK).as_numpy_iterator()
    while chunk := list(itertools.islice(examples, CHUNK)):
        yield chunk


def _digest(value: Any) -> bytes:
    if isinstance(value, bytes):
        return hashlib.sha256(value).digest()
    if isinstance(value, np.signedinteger):
        return int(value).to_bytes(8, "little", signed=True)
    array = np.asarray(value)
    return hashlib.sha256(f"{array.dtype} {array.shape}".encode() + array.tobytes()).digest()


def _splits(section: DataSection, task: Task, parts: Mapping[Part, PartIndex], seed: int) -> dict[Part, Split]:
    """Return the splits: the source's parts, and what is taken of the training part for the others.

    Raises:
        UserError: one is empty, or a group is in two.
    """
    generator = np.random.default_rng(seed)
    positions = {part: seen.positions for part, seen in parts.items()}
    origin: dict[Part, Part] = {part: part for part in parts}
    groups = groups_of(section, positions)
    if groups is not None and task.split == "by_class":
        raise UserError(f"data.group: {task.entry_name} holds whole classes out, and groups could be in two of them: "
                        "leave group out")
    shares: tuple[tuple[Part, float], ...] = (("test", section.test), ("validation", section.validation))
    for part, share in shares:
        if part not in positions:
            left = positions["train"]
            if groups is None:
                taken = set(_taken(task, parts["train"], left, share, generator))
            else:
                group_of = dict(zip(parts["train"].positions, groups["train"], strict=True))
                taken = set(_grouped(task, parts["train"], left, [group_of[one] for one in left], share, generator))
            positions[part] = [position for position in left if position in taken]
            positions["train"] = [position for position in left if position not in taken]
            origin[part] = "train"
    for part in positions:
        if not positions[part]:
            raise UserError(f"data: the {part} split is empty; {parts['train'].seen:,} training examples were found. "
                            f"Add examples, or raise data.{part if part != 'train' else 'validation'}")
    ordered: tuple[Part, ...] = ("train", "validation", "test")
    return {part: Split(part=origin[part], positions=positions[part], examples=len(positions[part]))
            for part in ordered}


def _taken(task: Task, seen: PartIndex, positions: Sequence[int], share: float,
           generator: np.random.Generator) -> list[int]:
    """Return which of the training part's positions become another split: at least one, and never the last.

    Of every class as many as its share, all of a share of the classes, of all at random, or the last ones.
    """
    if task.split == "by_class":
        return _of_whole_classes(task, seen, positions, share, generator)
    if task.split == "stratified":
        return _stratified(task, seen, positions, share, generator)
    count = max(0, min(len(positions) - 1, max(1, round(share * len(positions)))))
    if task.split == "random":
        return generator.permutation(positions)[:count].tolist()
    return list(positions[len(positions) - count:])


def _grouped(task: Task, seen: PartIndex, positions: Sequence[int], groups: Sequence[str], share: float,
             generator: np.random.Generator) -> list[int]:
    """Return which of the training part's positions become another split, in whole groups, as many of each class as its
    share where the task divides by classes."""
    if not positions:
        return []
    classes = None
    if task.split == "stratified" and seen.classes:
        class_of = dict(zip(seen.positions, next(iter(seen.classes.values())), strict=True))
        classes = [class_of[position] for position in positions]
    return [positions[place] for place in taken_groups(groups, classes, share, generator)]


def _stratified(task: Task, seen: PartIndex, positions: Sequence[int], share: float,
                generator: np.random.Generator) -> list[int]:
    class_of = _class_of(task, seen)
    taken: list[int] = []
    for number in sorted(set(class_of.values())):
        own = [position for position in positions if class_of[position] == number]
        count = min(len(own) - 1, max(1, round(share * len(own))))
        taken += generator.permutation(own)[:max(0, count)].tolist()
    return taken


def _of_whole_classes(task: Task, seen: PartIndex, positions: Sequence[int], share: float,
                      generator: np.random.Generator) -> list[int]:
    """Return all positions of a share of the classes, at least one class, and never the last one."""
    class_of = _class_of(task, seen)
    classes = sorted({class_of[position] for position in positions})
    count = min(len(classes) - 1, max(1, round(share * len(classes))))
    chosen = set(generator.permutation(classes)[:count].tolist())
    return [position for position in positions if class_of[position] in chosen]


def _class_of(task: Task, seen: PartIndex) -> dict[int, int]:
    """Return the class of each position, of the first target that has classes."""
    target = next(iter(seen.classes or task.targets))
    if target not in seen.classes:
        raise ValueError(f"{task.entry_name} divides examples by the classes of {target}, which has none; give the "
                         "task another split")
    return dict(zip(seen.positions, seen.classes[target], strict=True))


def _counts(reader: Reader, split: Split, seen: PartIndex, learnt: Mapping[str, Learnt]) -> dict[str, list[int]]:
    """Return, by target, how often each class occurs in a split; nothing of a target without classes, or whose
    classes are not counted."""
    counts = {}
    for target in reader.targets:
        feature, known = reader.features[target], learnt[target]
        if not known.names or not feature.counted:
            continue
        values: Iterable[Any]
        if target in seen.classes:
            class_of = dict(zip(seen.positions, seen.classes[target], strict=True))
            values = [np.array([class_of[position] for position in split.positions or []], int)]
        elif target in seen.counts and known == reader.learnt[target]:
            of = dict(zip(seen.positions, seen.counts[target], strict=True))
            counts[target] = sum((of[position] for position in split.positions or []),
                                 np.zeros(len(known.names), "int64")).tolist()
            continue
        else:
            values = (feature.load(tf.constant(value), known).numpy()
                      for value in reader.checked(target, split, known))
        total = np.zeros(len(known.names), "int64")
        for value in values:
            total += np.asarray(feature.counts(value, known))
        counts[target] = total.tolist()
    return counts
