"""From an index to batches: the seeded tf.data pipeline."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etils import epy

from pipelines.errors import UserError
from pipelines.features import scan
from pipelines.features.feature import Feature
from pipelines.ingest.augmentation.augment import augment
from pipelines.ingest.index import Index, Part
from pipelines.ingest.section import DataSection
from pipelines.ingest.tracing import as_written

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from pipelines.tasks.task import Task

#: A split whose examples take less than this is kept in memory once it has been decoded.
MEMORY = 2 * 1024**3
#: Bytes of inputs and outputs in a batch that a model is asked, about (256 images of ImageNet take less), and examples
#: in it, at most.
BATCH_BYTES = 40 * 2**20
LARGEST_BATCH = 256
SHUFFLE_BUFFER = 16_384

Tensors = dict[str, "tf.Tensor"]
Values = dict[str, "np.ndarray"]


def set_seed(seed: int) -> None:
    """Seed everything that is random: weights, dropout, and the order of training batches."""
    keras.utils.set_random_seed(seed)
    if seed % (2**31 - 1) == 0:
        # TensorFlow takes it for 0, under which a shuffle whose seed depends on the epoch does not trace.
        tf.random.set_seed(1)


class Data:
    """A source's examples as ingest divided them and as a task sees them: inputs and targets, by feature name.

    It can be pickled, for processes to send each other.

    Args:
        section: the recipe's.
        task: what an example is made of.
        index: of the source.
        seed: of the order and the augmentation of training examples.
    """

    def __init__(self, section: DataSection, task: Task, index: Index, seed: int):
        self.section, self.task, self.index, self.seed = section, task, index, seed
        inputs, targets = task.features_of(section, index.fields)
        self.features: dict[str, Feature] = {**inputs, **targets}
        self._kept: dict[Part, tf.data.Dataset] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": {}}

    @property
    def steps(self) -> int:
        """Return the training steps of an epoch. Its last, incomplete batch is left out."""
        return self.index.splits["train"].examples // self.section.batch

    @property
    def real_inputs(self) -> bool:
        """Return whether integer files take inputs as the real numbers that they are, and scale them in float."""
        return self.task.real_inputs or bool(scan.windows(self.index.learnt))

    @property
    def batch_size(self) -> int:
        """Return how many examples a model is asked at once, so that neither images nor dense outputs fill the memory:
        256 at most."""
        tensors = [*self.index.inputs.values(), *self.task.outputs(self.index)]
        return max(1, min(LARGEST_BATCH, BATCH_BYTES // sum(tensor.bytes for tensor in tensors)))

    def first(self, examples: int) -> Data:
        """Return the same data cut to the first so many examples of each split, and the batch to the training split."""
        splits = {}
        for part, split in self.index.splits.items():
            count = min(examples, split.examples)
            positions = range(count) if split.positions is None else split.positions[:count]
            splits[part] = split.model_copy(update={"positions": list(positions), "examples": count})
        section = self.section.model_copy(update={"batch": min(self.section.batch, splits["train"].examples)})
        return Data(section, self.task, self.index.model_copy(update={"splits": splits}), self.seed)

    def examples(self, part: Part) -> tf.data.Dataset:
        """Return the decoded examples of a split in their fixed order, (inputs, targets), read from the source each
        time."""
        split = self.index.splits[part]
        return self._decoded(split.part, split.positions, split.examples)

    def arrays(self, part: Part, at: Sequence[int] | int) -> tuple[Values, Values]:
        """Return examples of a split, inputs and targets, each array (examples, …).

        Args:
            at: their positions in the split, in the order asked for; or a number, for the first so many.
        """
        split = self.index.splits[part]
        asked = np.asarray(at, int)
        if asked.ndim == 0:
            asked = np.arange(min(int(asked), split.examples))
        chosen, order = np.unique(asked, return_inverse=True)
        if not len(chosen):
            return self._empty()
        positions = chosen if split.positions is None else np.asarray(split.positions, int)[chosen]
        dataset = self._decoded(split.part, positions.tolist(), len(chosen))
        inputs, targets = next(_batched(dataset, len(chosen)).as_numpy_iterator())
        ordered = {name: values[order] for name, values in (inputs | targets).items()}
        return self._divided(ordered)

    def batches(self, part: Part, size: int | None = None) -> Iterator[tuple[Values, Values]]:
        """Give a split in its fixed order, decoded, in batches of NumPy arrays, which are the caller's to change.

        Nothing is kept of it.

        Args:
            size: `batch_size` where not given.
        """
        for inputs, targets in _batched(self.examples(part), size or self.batch_size).prefetch(2):
            yield ({name: values.numpy() for name, values in inputs.items()},
                   {name: values.numpy() for name, values in targets.items()})

    def sent(self, inputs: Mapping[str, np.ndarray]) -> Values:
        """Return inputs as a server is sent them, which decodes some itself: words as text."""
        return {name: self.features[name].sent(values, self.index.learnt[name]) for name, values in inputs.items()}

    @as_written
    def training(self, first_epoch: int, epochs: int) -> tf.data.Dataset:
        """Return shuffled, augmented batches of several epochs, one after the other, as a training takes them:
        inputs in their types, but images in float32; targets prepared by their features.

        The order and the augmentation of an epoch depend on the seed and on the epoch alone, so that a training that
        starts again in the middle sees what it would have seen.

        Args:
            first_epoch: the epoch to start with, counted from 0.
            epochs: the epoch to end before.

        Raises:
            UserError: an augmentation mixes examples, and an input is of whole numbers.
        """
        self._refuse_mixing()
        dataset, count = self._in_memory("train"), self.index.splits["train"].examples
        windows = scan.windows(self.index.learnt)
        roles = {name: "image" if name in windows else tensor.role
                 for name, tensor in (self.index.inputs | self.index.targets).items()}

        def prepare(epoch: tf.Tensor, position: tf.Tensor, example: tuple[Tensors, Tensors]) -> tuple[Tensors, Tensors]:
            entry_seed = tf.cast(tf.stack([self.seed * 100_003 + epoch, position]), tf.int32)
            inputs, targets = self._prepared(*example)
            # augmentations are about 0..255, black and white; what they cut off the model cuts off too
            inputs |= {name: scan.to_levels(inputs[name], window) for name, window in windows.items()}
            inputs, targets = augment(self.section.augment, inputs, targets, roles, entry_seed)
            return inputs | {name: scan.from_levels(inputs[name], window)
                             for name, window in windows.items()}, targets

        def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            shuffled = dataset.shuffle(min(count, SHUFFLE_BUFFER), seed=self.seed * 100_003 + epoch + 1,
                                       reshuffle_each_iteration=False)
            ordered = self._by_class(shuffled)
            return _batched(ordered, self.section.batch, drop_remainder=True).enumerate().map(
                lambda position, example: prepare(epoch, position, example),
                num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

        return tf.data.Dataset.range(first_epoch, epochs).flat_map(one_epoch).apply(
            tf.data.experimental.assert_cardinality(self.steps * (epochs - first_epoch))).prefetch(tf.data.AUTOTUNE)

    @as_written
    def validation(self, batch: int | None = None) -> tf.data.Dataset:
        """Return the validation split in its fixed order, in batches as a training takes them, without augmentation.

        Args:
            batch: examples in one; `batch_size` where not given.
        """
        return _batched(self._in_memory("validation"), batch or self.batch_size).map(
            self._prepared, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)

    def _in_memory(self, part: Part) -> tf.data.Dataset:
        """Return the examples of a split that is read again and again: kept in memory once read, where they are
        small."""
        if part not in self._kept:
            small = self.index.splits[part].examples * self._bytes() < MEMORY
            self._kept[part] = self.examples(part).cache() if small else self.examples(part)
        return self._kept[part]

    @as_written
    def _decoded(self, part: Part, positions: Sequence[int] | None, count: int) -> tf.data.Dataset:
        raw = self.section.source.examples(part, positions)
        decoded = raw.map(self._decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return decoded.apply(tf.data.experimental.assert_cardinality(count))

    def _decode(self, example: Tensors) -> tuple[Tensors, Tensors]:
        return self._divided({name: feature.load(example[feature.field_name(name)], self.index.learnt[name])
                              for name, feature in self.features.items()})

    def _prepared(self, inputs: Mapping[str, tf.Tensor], targets: Mapping[str, tf.Tensor]) -> tuple[Tensors, Tensors]:
        """Return inputs as the model that ships takes them, raw bytes as float32, and targets as losses take them."""
        raw = {name for name, tensor in self.index.inputs.items() if tensor.dtype == "uint8"}
        return ({name: tf.cast(values, tf.float32) if name in raw else values for name, values in inputs.items()},
                {name: self.features[name].prepare(values, self.index.learnt[name])
                 for name, values in targets.items()})

    def _by_class(self, shuffled: tf.data.Dataset) -> tf.data.Dataset:
        """Return shuffled examples with `per_class` of a class one behind the other; what is left of classes comes
        last. Raises UserError where examples have no class."""
        together, target = self.section.per_class, self.index.class_target
        if together == 1:
            return shuffled
        if target is None:
            raise UserError(f"data.per_class: an example of {self.task.entry_name} has no class; leave it out")
        return shuffled.group_by_window(lambda _, targets: tf.cast(targets[target], tf.int64),
                                        lambda _, window: window, window_size=together)

    def _refuse_mixing(self) -> None:
        mixing = next((entry.entry_name for entry in self.section.augment if entry.mixes_targets), None)
        whole = [name for name, tensor in self.index.inputs.items() if tensor.dtype not in ("uint8", "float32")]
        if mixing and whole:
            raise UserError(f"data.augment: {mixing} mixes real numbers, and {whole[0]} is "
                            f"{self.index.inputs[whole[0]].dtype}; leave it out")

    def _bytes(self) -> float:
        """Return how much memory an example takes; infinity where a size varies."""
        tensors = (self.index.inputs | self.index.targets).values()
        if any(tensor.dtype == "string" or None in tensor.shape for tensor in tensors):
            return float("inf")
        return sum(tensor.bytes for tensor in tensors)

    def _empty(self) -> tuple[Values, Values]:
        tensors = self.index.inputs | self.index.targets
        dtypes = {name: object if tensor.dtype == "string" else tensor.dtype for name, tensor in tensors.items()}
        return self._divided({name: np.zeros((0, *(size or 0 for size in tensor.shape)), dtypes[name])
                              for name, tensor in tensors.items()})

    def _divided(self, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        return ({name: values[name] for name in self.index.inputs},
                {name: values[name] for name in self.index.targets})


def _batched(dataset: tf.data.Dataset, size: int, drop_remainder: bool = False) -> tf.data.Dataset:
    """Return batches, padded with zeros to their longest example where a size varies."""
    if all(spec.shape.is_fully_defined() for part in dataset.element_spec for spec in part.values()):
        return dataset.batch(size, drop_remainder)
    return dataset.padded_batch(size, drop_remainder=drop_remainder)
