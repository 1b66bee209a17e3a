"""The schema of a recipe: one YAML file that says what to train and what to ship."""
from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.entries import Section
from pipelines.ingest.section import DataSection
from pipelines.recipe import gates
from pipelines.recipe.package import PackageSection
from pipelines.recipe.tune import TuneSection
from pipelines.targets.section import ExportSection
from pipelines.training.model_section import ModelSection
from pipelines.training.section import TrainSection
from pipelines.variants.auto import DROP, Auto
from pipelines.variants.section import CompressSection

METRICS = ("accuracy", "top3", "macro_f1", "calibration_error")


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
    package: PackageSection = PackageSection()
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
    def ladders_end_at_their_gates(self) -> Recipe:
        for variant in self.compress.variants:
            if isinstance(variant, Auto) and variant.drop is None:
                gate = gates.LIMIT.match(self.gates.get(f"{variant.title}.drop", ""))
                limit = float(gate[2]) if gate and gate[1] in ("<=", "<") and 0 <= float(gate[2]) < 1 else DROP
                object.__setattr__(variant, "drop", limit)  # which is frozen for others
        return self

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
        values = {name: gates.values_of(target.runs, METRICS, target.estimates) for target in self.export.targets
                  for name in target.artifacts(self.compress.variants)}
        for name, limit in self.gates.items():
            try:
                gates.check_name(name, METRICS, values)
                gates.parse_limit(limit)
            except ValueError as error:
                raise PydanticCustomError("gate", "{reason}", {"reason": str(error), "at": ["gates", name]}) from None
        return self

    def written(self) -> dict[str, Any]:
        """The recipe as plain data with every default filled in."""
        return self.model_dump(by_alias=True, mode="json")
