"""The part of a recipe that says how the model learns."""
from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

import pipelines.training.angular
import pipelines.training.averaging
import pipelines.training.detection.anchor_loss
import pipelines.training.detection.cell_loss
import pipelines.training.detection.point_loss
import pipelines.training.detection.region_loss
import pipelines.training.lora
import pipelines.training.overlap_losses
import pipelines.training.summed_loss  # noqa: F401  makes these callbacks, losses and adapters known
from pipelines.entries import Section
from pipelines.training.adapter import Adapter
from pipelines.training.callbacks import Callback
from pipelines.training.distillation import DistillationSection
from pipelines.training.distribution import Strategy
from pipelines.training.losses import CrossEntropy, Loss
from pipelines.training.optimizers import AdamW, Optimizer
from pipelines.training.schedules import Cosine, Schedule
from pipelines.training.transfer import Transfer


class TrainSection(Section):
    """How the model learns.

    Args:
        loss: what is made small; the task's own where not given.
        precision: of the computation; weights are kept in float32, and exported models compute in float32.
        checkpoint_activations: what attention and the activations of Transformers compute on their way is computed
            again for the gradients, and not kept: less memory, more time, the same weights. Attention with dropout,
            which draws random numbers, keeps it.
        compile: let XLA compile the training step.
        deterministic: the same seed gives the same weights, bit for bit; a little slower on a GPU.
        checkpoint_every: epochs between two checkpoints; an interrupted training goes on from the last.
        strategy: one device, all GPUs of this machine (mirrored), several machines as TF_CONFIG says (multi_worker), a
            tpu, or what is found (auto); or all devices that Keras finds by JAX, with a part of each weight on each
            (sharded, of gpt and llama). data.batch is the batch of all of them together.
        model_axis: under strategy sharded, how many devices a side of each weight is divided among beside the side that
            the others divide, as they do the batch; a divisor of the number of devices.
        sync_batch_norm: batch normalization takes its statistics from all devices together, so that many train as one
            would.
        transfer: how the layers with pretrained weights (model.weights) learn; as all others where not given.
        adapter: what learns in place of the layers with pretrained weights, which stay as they are.
        l1: factor of the sum of all kernels' absolute values, added to the loss.
        l2: factor of the sum of all kernels' squares, added to the loss.
        batch_norm_momentum: of the moving statistics; the builder's where not given.
        freeze_batch_norm: batch normalization keeps its statistics and parameters.
        distill: the model is the student of another, which is trained first where it is a recipe.
    """

    epochs: int = Field(10, ge=1)
    loss: Loss = CrossEntropy()
    optimizer: Optimizer = AdamW()
    schedule: Schedule = Cosine()
    callbacks: list[Callback] = []
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    checkpoint_activations: bool = False
    compile: bool = False
    deterministic: bool = True
    checkpoint_every: int = Field(1, ge=1)
    strategy: Strategy = "auto"
    model_axis: int = Field(1, ge=1)
    sync_batch_norm: bool = True
    transfer: Transfer | None = None
    adapter: Adapter | None = None
    l1: float = Field(0.0, ge=0)
    l2: float = Field(0.0, ge=0)
    batch_norm_momentum: float | None = Field(None, ge=0, lt=1)
    freeze_batch_norm: bool = False
    distill: DistillationSection | None = None

    @model_validator(mode="after")
    def plateaus_want_a_constant_rate(self) -> TrainSection:
        names = self._callback_names
        if "reduce_on_plateau" in names and (self.schedule.entry_name != "constant" or self.schedule.warmup):
            raise _combination("reduce_on_plateau changes the rate itself; it goes with schedule: constant only, "
                               "without a warm-up", "callbacks", names.index("reduce_on_plateau"))
        return self

    @model_validator(mode="after")
    def momentum_cycles_where_there_is_one(self) -> TrainSection:
        if getattr(self.schedule, "momentum", None) and not self.optimizer.momentum_can_cycle:
            raise _combination("one_cycle.momentum goes with sgd, adam, adamw, lamb and lion only, not with "
                               f"{self.optimizer.entry_name}", "schedule")
        return self

    @model_validator(mode="after")
    def workers_train_in_tf_keras(self) -> TrainSection:
        if self.strategy == "multi_worker" and (reason := self.optimizer.why_alone()):
            raise _combination(reason, "optimizer")
        if self.strategy == "multi_worker" and self.transfer is not None:
            raise _combination("does not go with several workers, which train in tf_keras; use strategy: one or "
                               "mirrored", "transfer")
        return self

    @model_validator(mode="after")
    def tf_keras_has_neither_adapters_nor_checkpoints(self) -> TrainSection:
        if self.adapter is not None and self.transfer is not None:
            raise _combination("the layers with pretrained weights stay as they are, or learn as transfer says: leave "
                               "one of the two out", "adapter")
        if self.checkpoint_activations and self.strategy in ("multi_worker", "tpu"):
            raise _combination("does not go with several workers or a TPU, which train in tf_keras; use strategy: one "
                               "or mirrored", "checkpoint_activations")
        if self.adapter is not None and self.strategy in ("multi_worker", "tpu"):
            raise _combination("does not go with several workers or a TPU, which train in tf_keras; use strategy: one "
                               "or mirrored", "adapter")
        return self

    @model_validator(mode="after")
    def sharded_training_is_plain(self) -> TrainSection:
        if self.strategy != "sharded":
            if self.model_axis != 1:
                raise _combination("divides weights under strategy: sharded alone; leave it out", "model_axis")
            return self
        unset: dict[str, object] = {"callbacks": [], "transfer": None, "adapter": None, "distill": None, "l1": 0.0,
                                    "l2": 0.0, "checkpoint_activations": False}
        if (name := next((name for name, value in unset.items() if getattr(self, name) != value), None)):
            raise _combination("does not go with strategy: sharded, which trains in a process of its own; leave it out",
                               name)
        if getattr(self.schedule, "momentum", None):
            raise _combination("momentum does not cycle under strategy: sharded; leave it out", "schedule")
        return self

    @model_validator(mode="after")
    def one_average_ships(self) -> TrainSection:
        names = self._callback_names
        if "ema" in names and "swa" in names:
            raise _combination("ema and swa each ship their own average of the weights: leave one of the two out",
                               "callbacks", names.index("swa"))
        return self

    @model_validator(mode="after")
    def callbacks_come_once(self) -> TrainSection:
        names = self._callback_names
        repeated = next((name for number, name in enumerate(names) if name in names[:number]), None)
        if repeated is not None:
            raise _combination(f"{repeated} is given twice", "callbacks", len(names) - 1 - names[::-1].index(repeated))
        return self

    @property
    def _callback_names(self) -> list[str]:
        return [str(callback.entry_name) for callback in self.callbacks]


def _combination(reason: str, *location: str | int) -> PydanticCustomError:
    """Return the error about settings that do not go together, found at a location in the section."""
    return PydanticCustomError("combination", "{reason}", {"reason": reason, "at": ["train", *location]})
