"""Training on several devices or machines, as one line of a recipe.

Where Keras 3 can train under a strategy of tf.distribute, it does. Under MultiWorkerMirroredStrategy it cannot (keras
issue 20585), so there the model crosses the bridge to tf_keras, is trained, and comes back.
"""
from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from etils import epy

from export.keras_models import bridge
from pipelines.errors import StageError, UserError

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf
    import tf_keras

Strategy = Literal["auto", "one", "mirrored", "multi_worker", "tpu", "sharded"]
#: Makes the processors of this machine look like several devices: for trying `mirrored` where there is no GPU.
VIRTUAL = "LITEPRESS_VIRTUAL_CPUS"


@dataclasses.dataclass(frozen=True)
class Role:
    """This process among the workers of a job: its number, and how many there are."""

    index: int = 0
    count: int = 1

    @property
    def is_chief(self) -> bool:
        return self.index == 0


def role() -> Role:
    """Return what TF_CONFIG says; one worker alone where it is not set. Raises UserError where it cannot be read."""
    written = os.environ.get("TF_CONFIG")
    if not written:
        return Role()
    try:
        config = json.loads(written)
        cluster, task = config["cluster"], config["task"]
        chiefs, workers = cluster.get("chief", []), cluster.get("worker", [])
        index = int(task["index"]) + (len(chiefs) if task["type"] == "worker" else 0)
        if task["type"] not in ("chief", "worker") or not 0 <= index < len(chiefs) + len(workers):
            raise ValueError(f"task {task} is not in the cluster")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError('TF_CONFIG cannot be read; it should look like {"cluster": {"worker": ["host1:2222", '
                        f'"host2:2222"]}}, "task": {{"type": "worker", "index": 0}}}}: {error}') from error
    return Role(index, len(chiefs) + len(workers))


def resolved(strategy: Strategy) -> Strategy:
    """Return the strategy that `auto` stands for here: several workers, a TPU, several GPUs, or one device."""
    if strategy != "auto":
        return strategy
    if role().count > 1:
        return "multi_worker"
    if os.environ.get("TPU_NAME"):
        return "tpu"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one"


class Distribution:
    """A strategy that has been set up, and the library that trains under it.

    Must be made before the process runs its first operation.

    Args:
        strategy: as the recipe says.
        library: that trains on one device: keras, which is the default, or tf_keras.

    Raises:
        UserError: the devices or the workers that the strategy needs are not there.
    """

    def __init__(self, strategy: Strategy, library: Any = None):
        self.kind = resolved(strategy)
        self.role = Role()
        self.strategy: Any = getattr(self, f"_{self.kind}")()
        self.library: Any = tf_keras if self.kind in ("multi_worker", "tpu") else library or keras

    def _one(self) -> None:
        return None

    #: What trains a model again once it was trained divided, see `training.sharded`, does so on one device.
    _sharded = _one

    def _mirrored(self) -> Any:
        if virtual := int(os.environ.get(VIRTUAL, 0)):
            tf.config.set_logical_device_configuration(
                tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * virtual)
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) < 2:
            raise UserError(f"train.strategy: mirrored needs at least two devices, here is {devices[0].name}. Use "
                            f"strategy: one, or set {VIRTUAL}=2 to try it on this machine's processors")
        return tf.distribute.MirroredStrategy([device.name for device in devices])

    def _multi_worker(self) -> Any:
        self.role = role()
        if self.role.count < 2:
            raise UserError("train.strategy: multi_worker needs TF_CONFIG to name at least two workers; set it as the "
                            "job's operator would, or use strategy: one")
        return tf.distribute.MultiWorkerMirroredStrategy()

    def _tpu(self) -> Any:
        if not os.environ.get("TPU_NAME"):
            raise UserError("train.strategy: tpu finds no TPU: set TPU_NAME to its name, or to local on a TPU machine")
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=os.environ["TPU_NAME"])
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)

    @property
    def replicas(self) -> int:
        """Return how many devices share a batch."""
        return self.strategy.num_replicas_in_sync if self.strategy else 1

    def scope(self) -> contextlib.AbstractContextManager:
        """Return the context in which models and metrics must be made."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    def model(self, build: Callable[[], keras.Model], synchronized: bool) -> Any:
        """Return the model to train, in the library that trains it.

        Args:
            build: makes the Keras model.
            synchronized: batch normalization takes its statistics from the batches of all replicas together.
        """
        if self.library.__name__ == "keras":
            with self.scope():
                model = build()
        else:
            built = build()
            with self.scope():
                model = bridge.to_tf_keras(built)
        for layer in model.layers:
            if isinstance(layer, self.library.layers.BatchNormalization):
                layer.synchronized = synchronized and self.replicas > 1
        return model

    def keras_model(self, model: Any) -> keras.Model:
        """Return the trained model as a Keras 3 model."""
        return model if self.library.__name__ == "keras" else bridge.to_keras(model)

    def distributed(self, batches: tf.data.Dataset, *, whole: bool = False) -> Any:
        """Return global batches, handed out: every replica gets its share of each.

        Args:
            batches: of nested structures of tensors, their first axis the examples; the same on every worker.
            whole: every worker gets all of them, for evaluation.
        """
        if self.strategy is None or self.kind == "mirrored":
            return batches
        local = max(1, self.replicas // self.role.count)
        if whole:
            return self.strategy.distribute_datasets_from_function(lambda context: batches)

        def share_of(values: tf.Tensor, context: Any) -> tf.Tensor:
            share = tf.shape(values)[0] // context.num_input_pipelines
            worker = values[context.input_pipeline_id * share:(context.input_pipeline_id + 1) * share]
            return tf.reshape(worker, tf.concat([[local, share // local], tf.shape(values)[1:]], 0))

        def with_shape(values: tf.Tensor, specification: tf.TensorSpec) -> tf.Tensor:
            return tf.ensure_shape(values, (None, *specification.shape[1:]))

        def per_worker(context: Any) -> tf.data.Dataset:
            shares = batches.map(lambda *batch: tf.nest.map_structure(lambda values: share_of(values, context), batch))
            shaped = shares.unbatch().map(lambda *batch: tf.nest.map_structure(with_shape, batch, batches.element_spec))
            return shaped.prefetch(tf.data.AUTOTUNE)

        return self.strategy.distribute_datasets_from_function(per_worker)

    def share_file(self, path: Path) -> None:
        """Give every worker the chief's file at `path`, or take theirs away where the chief has none."""
        if self.role.count < 2:
            return
        content = path.read_bytes() if self.role.is_chief and path.exists() else b""
        length = int(self._sum(np.array([len(content)], "int32"))[0])
        if not length:
            path.unlink(missing_ok=True)
            return
        values = np.frombuffer(content, "uint8") if self.role.is_chief else np.zeros(length, "uint8")
        shared = self._sum(values.astype("int32")).astype("uint8").tobytes()
        if not self.role.is_chief:
            path.write_bytes(shared)

    def _sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of every worker's values."""
        each = self.strategy.run(lambda: tf.constant(values))
        return np.asarray(self.strategy.reduce("sum", each, axis=None)) // max(1, self.replicas // self.role.count)

    @contextlib.contextmanager
    def watched(self, epochs_done: Callable[[], int]) -> Any:
        """Turn what happens when another worker dies into a StageError that says how to go on."""
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.InternalError,
                tf.errors.DeadlineExceededError) as error:
            if self.role.count < 2:
                raise
            raise StageError(f"train: worker {self.role.index} of {self.role.count} lost another worker. Start all of "
                             f"them again: the training goes on after epoch {epochs_done()}") from error
