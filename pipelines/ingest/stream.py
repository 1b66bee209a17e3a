"""From an index to batches: the seeded tf.data pipeline."""
from __future__ import annotations

from collections.abc import Sequence

from etils import epy

from pipelines.ingest.augmentation.augment import Augmentation, augment
from pipelines.ingest.pictures import ImageSettings, decode
from pipelines.ingest.sources.source import Index, Part, Source

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf

#: A split whose pictures take less than this is kept in memory once it has been decoded.
MEMORY = 2 * 1024**3
SHUFFLE_BUFFER = 16_384


def set_seed(seed: int) -> None:
    """Seeds everything that is random: weights, dropout, and the order of training batches."""
    keras.utils.set_random_seed(seed)
    if seed % (2**31 - 1) == 0:  # which TensorFlow takes for 0, and under 0 a shuffle whose seed depends on the epoch does not trace
        tf.random.set_seed(1)


def examples(source: Source, index: Index, image: ImageSettings, part: Part) -> tf.data.Dataset:
    """The examples of a split in their fixed order: (uint8 picture (height, width, channels), int64 label)."""
    split = index.splits[part]
    decoded = source.raw(split.part, split.positions).map(
        lambda encoded, label, _: (decode(encoded, image), label), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    decoded = decoded.apply(tf.data.experimental.assert_cardinality(split.examples))
    return decoded.cache() if split.examples * int(np.prod(image.shape)) < MEMORY else decoded


def arrays(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """A split as arrays: uint8 (examples, height, width, channels) and int64 (examples,)."""
    pictures, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(pictures), np.array(labels)


def training_batches(dataset: tf.data.Dataset, *, classes: int, batch: int, augmentations: Sequence[Augmentation], seed: int,
                     first_epoch: int, epochs: int) -> tf.data.Dataset:
    """Shuffled, augmented batches of several epochs, one after the other.

    The order and the augmentation of an epoch depend on the seed and on the epoch alone, so that a training that starts again
    in the middle sees what it would have seen.

    Args:
        dataset: the examples, see `examples`.
        classes: how many; targets are one-hot.
        batch: examples per batch. An epoch's last, incomplete batch is left out.
        first_epoch: the epoch to start with, counted from 0.
        epochs: the epoch to end before.

    Returns:
        float32 pictures (batch, height, width, channels), 0..255, and float32 targets (batch, classes).
    """
    count = int(dataset.cardinality())

    def prepare(epoch: tf.Tensor, place: tf.Tensor, pictures: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        own_seed = tf.cast(tf.stack([seed * 100_003 + epoch, place]), tf.int32)
        return augment(augmentations, pictures, tf.one_hot(labels, classes), own_seed)

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        shuffled = dataset.shuffle(min(count, SHUFFLE_BUFFER), seed=seed * 100_003 + epoch + 1, reshuffle_each_iteration=False)
        return shuffled.batch(batch, drop_remainder=True).enumerate().map(
            lambda place, example: prepare(epoch, place, *example), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    steps = count // batch
    return tf.data.Dataset.range(first_epoch, epochs).flat_map(one_epoch).apply(
        tf.data.experimental.assert_cardinality(steps * (epochs - first_epoch))).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(dataset: tf.data.Dataset, *, classes: int, batch: int) -> tf.data.Dataset:
    """Batches in the fixed order, without augmentation: float32 pictures 0..255 and one-hot targets."""
    return dataset.batch(batch).map(
        lambda pictures, labels: (tf.cast(pictures, tf.float32), tf.one_hot(labels, classes)),
        num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
