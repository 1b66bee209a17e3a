"""The schema of a recipe: one YAML file that says what to train and what to ship."""
from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

import models
import pipelines.tasks  # noqa: F401  makes the tasks known
from pipelines.entries import Section
from pipelines.features.chat_template import begins_again
from pipelines.ingest.section import DataSection
from pipelines.recipe import gates, plugins
from pipelines.recipe.package import PackageSection
from pipelines.recipe.tune import TuneSection
from pipelines.targets.section import ExportSection
from pipelines.tasks.image_classification import ImageClassification
from pipelines.tasks.task import Metric, Task
from pipelines.training.callbacks import Callback
from pipelines.training.losses import Loss
from pipelines.training.model_section import ModelSection
from pipelines.training.section import TrainSection
from pipelines.variants.auto import DROP, Auto
from pipelines.variants.section import CompressSection
from pipelines.variants.variant import Variant


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
    task: Task = ImageClassification()
    data: DataSection
    model: ModelSection
    train: TrainSection = Field(TrainSection(), validate_default=True)
    compress: CompressSection = CompressSection()
    export: ExportSection = ExportSection()
    verify: VerifySection = VerifySection()
    package: PackageSection = PackageSection()
    gates: dict[str, str] = {}
    tune: TuneSection | None = None

    @field_validator("train")
    @classmethod
    def loss_is_the_tasks(cls, value: TrainSection, info: ValidationInfo) -> TrainSection:
        """Return the section with the task's loss where the recipe gives none."""
        if "loss" in value.model_fields_set or not {"task", "model"} <= set(info.data):
            return value
        task = info.data["task"].of_model(info.data["model"])
        return value.model_copy(update={"loss": Loss.read(task.loss)})

    @model_validator(mode="after")
    def data_are_what_the_task_wants(self) -> Recipe:
        self.data.fill(self.task.data_settings)
        if self.task.split == "by_class":
            object.__setattr__(self.data, "source", self.data.source.with_classes_apart())
        return self

    @model_validator(mode="after")
    def builder_serves_the_task(self) -> Recipe:
        name = self.model.builder
        if self.model.imported is not None and self.task.gives_boxes and self.model.imported.head is None:
            raise PydanticCustomError("combination", "how a model made elsewhere writes its boxes is not known: say it "
                                                     "in model.head, as litepress press --task {task} does", {
                "task": str(self.task.entry_name), "at": ["model", "builder"]})
        if self.model.imported is not None or self.task.entry_name in models.builder(name).tasks:
            return self
        fitting = [builder.name for builder in models.builders() if self.task.entry_name in builder.tasks]
        hint = f"give one of {', '.join(fitting)}" if fitting else "register one that does"
        raise PydanticCustomError("combination", "{name} is a builder for {tasks}, and the task is {task}: {hint}", {
            "name": name, "tasks": " and ".join(models.builder(name).tasks), "task": str(self.task.entry_name),
            "hint": hint,
            "at": ["model", "builder"]})

    @model_validator(mode="after")
    def post_processing_stands_behind_boxes(self) -> Recipe:
        for number, target in enumerate(self.export.targets):
            if getattr(target, "post_processing", False) and not self.task.gives_boxes:
                raise PydanticCustomError("combination", "post_processing is for detectors, and the task is {task}: "
                                                         "leave it out", {"task": str(self.task.entry_name),
                                                                    "at": ["export", "targets", number]})
        return self

    @model_validator(mode="after")
    def task_knows_its_model(self) -> Recipe:
        object.__setattr__(self, "task", self.task.of_model(self.model))
        return self

    @model_validator(mode="after")
    def monitored_metrics_are_measured(self) -> Recipe:
        measured = [f"{split}{name}" for name in (*(metric.name for metric in self.task.watched), "loss")
                    for split in ("val_", "")]
        chosen = [(["train", "callbacks", number], callback.monitor) for number,
                  callback in enumerate(self.train.callbacks)
                  if isinstance(callback, Callback) and hasattr(callback, "monitor")]
        if self.tune is not None:
            chosen.append((["tune", "metric"], self.tune.metric))
        for location, name in chosen:
            if name is not None and name not in measured:
                raise PydanticCustomError("combination", "{name} is not measured while the model trains; it can be "
                                                         "{measured}", {
                    "name": name, "measured": ", ".join(measured), "at": location})
        return self

    @model_validator(mode="after")
    def some_losses_want_whole_classes(self) -> Recipe:
        mixing = next((number for number, entry in enumerate(self.data.augment) if entry.mixes_targets), None)
        whole = next((loss for loss in self.train.loss.parts if loss.whole_classes), None)
        if mixing is not None and whole is not None:
            raise PydanticCustomError("combination", "{name} mixes classes, and the {loss} loss wants each example to "
                                                     "have one: leave "
                                      "one of the two out", {"name": str(self.data.augment[mixing].entry_name),
                                                             "loss": str(whole.entry_name),
                                                             "at": ["data", "augment", mixing]})
        return self

    @model_validator(mode="after")
    def transfer_wants_weights(self) -> Recipe:
        if self.train.transfer is not None and self.model.weights is None:
            raise PydanticCustomError("combination", "says how pretrained layers learn, and model.weights names none: "
                                                     "give model.weights, "
                                      "for instance imagenet, or leave it out", {"at": ["train", "transfer"]})
        return self

    @model_validator(mode="after")
    def adapters_want_weights(self) -> Recipe:
        if self.train.adapter is not None and self.model.weights is None:
            raise PydanticCustomError("combination", "learns beside weights that stay as they are, and model.weights "
                                                     "names none: give model.weights, for instance {{file: "
                                                     "runs/llama/latest/train/model.keras}}, or leave it out",
                                      {"at": ["train", "adapter"]})
        return self

    @model_validator(mode="after")
    def packed_rows_are_not_divided(self) -> Recipe:
        number = self._packing
        if self.train.strategy == "sharded" and number is not None:
            raise PydanticCustomError("combination", "packed makes batches of fewer rows, which do not divide among "
                                                     "the devices of strategy: sharded: leave one of the two out",
                                      {"at": ["data", "augment", number]})
        return self

    @model_validator(mode="after")
    def packed_texts_begin_once(self) -> Recipe:
        number = self._packing
        tokens = (self.data.model_extra or {}).get("tokens")
        template = tokens.get("template") if isinstance(tokens, dict) else None
        if template is None or (number is None and not self.model.settings.get("packed")):
            return self
        if begins_again(template):
            at = ["model", "packed"] if number is None else ["data", "augment", number]
            raise PydanticCustomError("combination", "texts in one row are told apart by token 2, and the template "
                                                     "{template} writes it inside a conversation: leave packed out, "
                                                     "or give a template such as plain or alpaca",
                                      {"template": template, "at": at})
        return self

    @property
    def _packing(self) -> int | None:
        """Return the place of the augmentation that puts several texts in one row, if there is one."""
        return next((number for number, entry in enumerate(self.data.augment) if entry.entry_name == "packed"), None)

    @model_validator(mode="after")
    def targets_want_their_variants(self) -> Recipe:
        for number, target in enumerate(self.export.targets):
            try:
                target.chosen(self.compress.variants)
            except ValueError as error:
                raise PydanticCustomError("combination", "{reason}", {
                    "reason": str(error), "at": ["export", "targets", number]}) from None
        return self

    @model_validator(mode="after")
    def gates_must_be_measurable(self) -> Recipe:
        metrics = [metric.name for metric in self.task.metrics]
        values = {name: gates.values_of(target.runs, metrics, target.estimates) for target in self.export.targets
                  for name in target.artifacts(self.compress.variants)}
        for name, limit in self.gates.items():
            try:
                gates.check_name(name, metrics, values)
                _, bound = gates.parse_limit(limit, self.task.baselines)
                if isinstance(bound, str) and name.rpartition(".")[2] not in metrics:
                    raise ValueError(f"is {limit!r}; {bound} has {', '.join(metrics)} alone: give a number")
            except ValueError as error:
                raise PydanticCustomError("gate", "{reason}", {"reason": str(error), "at": ["gates", name]}) from None
        return self

    def monitored(self, name: str | None) -> Metric:
        """Return the metric of a training that a callback or a search looks at: by its name, or the task's first on the
        validation split."""
        watched = [*self.task.watched, Metric(name="loss", better="lower")]
        name = name or f"val_{watched[0].name}"
        better = next(metric.better for metric in watched if metric.name == name.removeprefix("val_"))
        return Metric(name=name, better=better)

    def limit_of(self, variant: Variant) -> float | None:
        """Return the largest drop that passes for a variant that searches: its own, its gate's, or the usual one; None
        for others."""
        if not isinstance(variant, Auto):
            return None
        if variant.drop is not None:
            return variant.drop
        gate = gates.LIMIT.match(self.gates.get(f"{variant.title}.drop", ""))
        return float(gate[2]) if gate and gate[1] in ("<=", "<") and float(gate[2]) >= 0 else DROP

    def written(self) -> dict[str, Any]:
        """Return the recipe as plain data with every default filled in."""
        return self.model_dump(by_alias=True, mode="json")


plugins.load()
