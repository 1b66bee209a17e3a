"""The schema of a recipe: one YAML file that says what to train and what to ship."""
from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, field_validator, model_validator
from pydantic_core import PydanticCustomError

import models
import pipelines.ingest
import pipelines.training.averaging  # noqa: F401  makes these callbacks known
from export.variants import VARIANTS
from pipelines import gates
from pipelines.entries import Section, inlined, nearest, unknown_key
from pipelines.ingest.augment import Augmentation
from pipelines.ingest.pictures import ImageSettings
from pipelines.ingest.source import Source
from pipelines.training.callbacks import Callback
from pipelines.training.distribution import Strategy
from pipelines.training.losses import CrossEntropy, Loss
from pipelines.training.optimizers import AdamW, Optimizer
from pipelines.training.schedules import Cosine, Schedule
from pipelines.training.transfer import Transfer
from pipelines.training.weights import Weights
from pipelines.tune_section import TuneSection

#: Where a model can run; each is an artifact per variant, or one for all.
TARGETS = {"litert": "TFLite files for phones and small devices, one per variant",
           "saved_model": "a TF SavedModel for TF Serving"}
METRICS = ("accuracy", "top3", "macro_f1", "calibration_error")
Variant = Literal["float32", "float16", "dynamic", "int8"]


class DataSection(Section):
    """What the model learns from.

    Args:
        source: a name, tfds:<name>, or image_folder / tfrecord with settings.
        image: the pictures as the model sees them.
        augment: random changes of training pictures, in order.
        batch: examples per training step.
        validation: share of the training part to hold out for validation, where the source has no such part.
        test: the same for the test part.
        max_unreadable: the largest share of unreadable pictures to go on with.
    """

    source: Source
    image: ImageSettings = ImageSettings()
    augment: list[Augmentation] = []
    batch: int = Field(64, ge=1)
    validation: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)
    max_unreadable: float = Field(0.01, ge=0, le=1)


class ModelSection(Section):
    """The network: a builder's name, what its weights start from, and what the builder can be told."""

    model_config = ConfigDict(extra="allow", frozen=True)
    builder: str
    weights: Weights | None = None

    @field_validator("builder")
    @classmethod
    def must_be_known(cls, name: str) -> str:
        known = [builder.name for builder in models.builders()]
        if name not in known:
            raise PydanticCustomError("unknown_entry", "no such builder", {
                "kind": "builder", "entry": name, "nearest": nearest(name, known), "known": known})
        return name

    @model_validator(mode="after")
    def fill_settings(self) -> ModelSection:
        extra = self.__pydantic_extra__
        assert extra is not None
        settings = models.builder(self.builder).settings()
        for key in extra:
            if key not in settings.model_fields:
                raise unknown_key(key, ["builder", "weights", *settings.model_fields])
        extra.update(settings.model_validate(extra).model_dump())
        return self

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.__pydantic_extra__ or {})

    @property
    def auxiliary(self) -> float:
        """The weight of each auxiliary head's loss, for builders that have such heads."""
        return self.settings.get("auxiliary", 0.0)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        choices, weights = [], inlined(TypeAdapter(Weights).json_schema())
        for builder in models.builders():
            one = builder.settings().model_json_schema()
            one["properties"] = {"builder": {"const": builder.name, "description": builder.summary}, "weights": weights,
                                 **one.get("properties", {})}
            one["required"] = ["builder", *one.get("required", [])]
            choices.append(one)
        return {"anyOf": choices}


class TrainSection(Section):
    """How the model learns.

    Args:
        precision: of the computation; weights are kept in float32, and exported models compute in float32.
        compile: let XLA compile the training step.
        deterministic: the same seed gives the same weights, bit for bit; a little slower on a GPU.
        checkpoint_every: epochs between two checkpoints; an interrupted training goes on from the last.
        strategy: one device, all GPUs of this machine (mirrored), several machines as TF_CONFIG says (multi_worker), a tpu, or what is
            found (auto). data.batch is the batch of all of them together.
        sync_batch_norm: batch normalization takes its statistics from all devices together, so that many train as one would.
        transfer: how the layers with pretrained weights (model.weights) learn; as all others where not given.
        l1: factor of the sum of all kernels' absolute values, added to the loss.
        l2: factor of the sum of all kernels' squares, added to the loss.
        batch_norm_momentum: of the moving statistics; the builder's where not given.
        freeze_batch_norm: batch normalization keeps its statistics and parameters.
    """

    epochs: int = Field(10, ge=1)
    loss: Loss = CrossEntropy()
    optimizer: Optimizer = AdamW()
    schedule: Schedule = Cosine()
    callbacks: list[Callback] = []
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    compile: bool = False
    deterministic: bool = True
    checkpoint_every: int = Field(1, ge=1)
    strategy: Strategy = "auto"
    sync_batch_norm: bool = True
    transfer: Transfer | None = None
    l1: float = Field(0.0, ge=0)
    l2: float = Field(0.0, ge=0)
    batch_norm_momentum: float | None = Field(None, ge=0, lt=1)
    freeze_batch_norm: bool = False

    @model_validator(mode="after")
    def must_go_together(self) -> TrainSection:
        names = [callback.entry_name for callback in self.callbacks]
        if "reduce_on_plateau" in names and (self.schedule.entry_name != "constant" or self.schedule.warmup):
            raise PydanticCustomError("combination", "reduce_on_plateau changes the rate itself; it goes with schedule: constant only, "
                                      "without a warm-up", {"at": ["train", "callbacks", names.index("reduce_on_plateau")]})
        if getattr(self.schedule, "momentum", None) and not self.optimizer.momentum_can_cycle:
            raise PydanticCustomError("combination", "one_cycle.momentum goes with sgd, adam, adamw, lamb and lion only, not with {name}", {
                "name": str(self.optimizer.entry_name), "at": ["train", "schedule"]})
        if self.strategy == "multi_worker" and (reason := self.optimizer.alone()):
            raise PydanticCustomError("combination", "{reason}", {"reason": reason, "at": ["train", "optimizer"]})
        if self.strategy == "multi_worker" and self.transfer is not None:
            raise PydanticCustomError("combination", "does not go with several workers, which train in tf_keras; use strategy: one or "
                                      "mirrored", {"at": ["train", "transfer"]})
        if "ema" in names and "swa" in names:
            raise PydanticCustomError("combination", "ema and swa each ship their own average of the weights: leave one of the two out", {
                "at": ["train", "callbacks", names.index("swa")]})
        repeated = next((name for number, name in enumerate(names) if name in names[:number]), None)
        if repeated:
            raise PydanticCustomError("combination", "{name} is given twice", {
                "name": repeated, "at": ["train", "callbacks", len(names) - 1 - names[::-1].index(repeated)]})
        return self


class CompressSection(Section):
    """What to make of the trained model.

    Args:
        variants: float32, float16, dynamic, int8.
        calibration: training pictures that integer variants find their ranges with.
    """

    variants: list[Variant] = Field(list(VARIANTS), min_length=1)  # type: ignore[arg-type]
    calibration: int = Field(200, ge=1)

    @field_validator("variants")
    @classmethod
    def once_each(cls, variants: list[str]) -> list[str]:
        if len(set(variants)) < len(variants):
            raise PydanticCustomError("repeated", "name each variant once")
        return variants


class ExportSection(Section):
    """Where the model must run."""

    targets: list[Literal["litert", "saved_model"]] = Field(["litert", "saved_model"], min_length=1)


class VerifySection(Section):
    """How the artifacts are measured.

    Args:
        runs: timed runs for the latency, after a warm-up.
        threads: processor threads an artifact may use while it is timed.
    """

    runs: int = Field(300, ge=10)
    threads: int = Field(1, ge=1)


class Recipe(Section):
    """From data to verified models."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)
    seed: int = Field(7, ge=0, lt=2**31)
    task: Literal["image_classification"] = "image_classification"
    data: DataSection
    model: ModelSection
    train: TrainSection = TrainSection()
    compress: CompressSection = CompressSection()
    export: ExportSection = ExportSection()
    verify: VerifySection = VerifySection()
    gates: dict[str, str] = {}
    tune: TuneSection | None = None

    @model_validator(mode="after")
    def distances_want_whole_classes(self) -> Recipe:
        mixing = next((number for number, entry in enumerate(self.data.augment) if entry.entry_name in ("mixup", "cutmix")), None)
        if mixing is not None and self.train.loss.entry_name in ("triplet", "contrastive"):
            raise PydanticCustomError("combination", "{name} mixes classes, and the {loss} loss wants each picture to have one: leave one "
                                      "of the two out", {"name": str(self.data.augment[mixing].entry_name),
                                                     "loss": str(self.train.loss.entry_name), "at": ["data", "augment", mixing]})
        return self

    @model_validator(mode="after")
    def transfer_wants_weights(self) -> Recipe:
        if self.train.transfer is not None and self.model.weights is None:
            raise PydanticCustomError("combination", "says how pretrained layers learn, and model.weights names none: give model.weights, "
                                      "for instance imagenet, or leave it out", {"at": ["train", "transfer"]})
        return self

    @model_validator(mode="after")
    def gates_must_be_measurable(self) -> Recipe:
        artifacts: list[str] = list(self.compress.variants) if "litert" in self.export.targets else []
        if "saved_model" in self.export.targets:
            artifacts.append("saved_model")
        for name, limit in self.gates.items():
            try:
                gates.check_name(name, METRICS, artifacts)
                gates.parse_limit(limit)
            except ValueError as error:
                raise PydanticCustomError("gate", "{reason}", {"reason": str(error), "at": ["gates", name]}) from None
        return self

    def written(self) -> dict[str, Any]:
        """The recipe as plain data with every default filled in."""
        return self.model_dump(by_alias=True, mode="json")
