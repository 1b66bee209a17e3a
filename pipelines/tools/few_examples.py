"""A few examples of a recipe's data, for what must not read all of it: `check`, `load-test`, `drift`."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from etils import epy

from export.signature import Signature, Tensor
from pipelines.errors import UserError
from pipelines.features import Field
from pipelines.ingest.data import Data
from pipelines.ingest.index import Index, Part, Split, select
from pipelines.ingest.indexing import Reader
from pipelines.ingest.sources.source import Source
from pipelines.ingest.tracing import as_written
from pipelines.recipe.recipe import Recipe

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Examples that are looked at for each that is asked for: some may not be readable.
TRIED = 4


class RandomExamples(Source):
    """Random examples, as valid as those of a source that is not downloaded yet.

    Args:
        original: the source in whose place they are.
        values: field name to the raw value of each example, (examples, ...).
    """

    original: Source
    values: dict[str, Any]

    def fields(self) -> dict[str, Field]:
        return self.original.fields()

    def parts(self) -> list[Part]:
        return ["train"]

    def size(self, part: Part) -> int | None:
        return len(next(iter(self.values.values())))

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        names = [f"random#{number}" for number in range(self.size(part) or 0)]
        return select(tf.data.Dataset.from_tensor_slices({**self.values, "id": names}), positions)


def few_examples(recipe: Recipe, most: int, *, spread: bool = False, download: bool = False) -> Data:
    """Return a few training examples as data whose splits are all the same.

    Args:
        most: how many; all of them where there are fewer.
        spread: take them from all over the training part, and not from its beginning, which may be of one class.
        download: bring a source here that is not; otherwise random examples stand for its own.

    Raises:
        UserError: the source does not have what the task takes, or none of its first examples can be read.
    """
    section, task = recipe.data, recipe.task
    if download or section.source.ready():
        section.source.prepare()
    else:
        values = _random_values(Reader(section, task), most)
        section = section.model_copy(update={"source": RandomExamples(original=section.source, values=values)})
    reader = Reader(section, task)
    positions = _readable(reader, _candidates(section.source, most, spread), most)
    index = _index(reader, Split(part="train", positions=positions, examples=len(positions)))
    return Data(section.model_copy(update={"batch": min(section.batch, len(positions))}), task, index, recipe.seed)


def _candidates(source: Source, most: int, spread: bool) -> list[int]:
    """Return positions in the training part to look at, ascending."""
    size = source.size("train")
    if size is None:
        return list(range(TRIED * most))
    if spread:
        return np.unique(np.linspace(0, size - 1, min(size, most)).astype(int)).tolist()
    return list(range(min(size, TRIED * most)))


def _readable(reader: Reader, candidates: Sequence[int], most: int) -> list[int]:
    """Return the positions of the first examples that can be read.

    Raises:
        UserError: there are none, or a target cannot be read.
    """
    positions: list[int] = []
    examples = as_written(reader.source.examples)("train", candidates).as_numpy_iterator()
    for position, example in zip(candidates, examples, strict=False):
        if reason := reader.target_fault(example):
            raise UserError(f"data: {example['id'].decode()} {reason}")
        if not reader.input_fault(example):
            positions.append(position)
        if len(positions) == most:
            break
    if not positions:
        raise UserError(f"data: none of the first {len(candidates)} examples could be read")
    return positions


def _index(reader: Reader, split: Split) -> Index:
    """Return an index of one split, as all three; as if each class occurred once."""
    learnt = reader.learn(split)
    tensors = {name: feature.tensor(name, learnt[name]) for name, feature in reader.features.items()}
    counts = {name: [1] * len(learnt[name].names) for name in reader.targets if learnt[name].names}
    return Index(source=str(reader.source.entry_name), digest="", learnt=learnt, counts={"train": counts},
                 fields=reader.source_fields,
                 splits={"train": split, "validation": split, "test": split},
                 inputs={name: tensors[name] for name in reader.inputs},
                 targets={name: tensors[name] for name in reader.targets})


def _random_values(reader: Reader, count: int) -> dict[str, Any]:
    """Return raw values by field, as a source would have them, for so many examples."""
    values: dict[str, Any] = {}
    for name, feature in reader.features.items():
        classes = len(reader.learnt[name].names) if name in reader.targets else 0
        tensor = feature.tensor(name, reader.learnt[name])
        decoded = _random(tensor, classes, count)
        if tensor.role == "tokens":
            values[feature.field_name(name)] = np.array([" ".join(map(str, row)).encode() for row in decoded], object)
            continue
        files = [feature.encode(value) for value in decoded] if reader.fields[name].kind == "bytes" else []
        contents = [file[1] for file in files if file is not None]
        values[feature.field_name(name)] = np.array(contents, object) if contents else decoded
    return values


def _random(tensor: Tensor, classes: int, count: int) -> np.ndarray:
    """Return valid values of a tensor, (count, ...); of a target with classes all of them in turn."""
    if not classes:
        return Signature(inputs=(tensor,), outputs=()).example(count)[tensor.name]
    shape = (count, *(size or 1 for size in tensor.shape))
    return (np.arange(math.prod(shape)) % classes).reshape(shape).astype(tensor.dtype)
