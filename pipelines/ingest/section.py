"""The part of a recipe that says what the model learns from."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, field_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

import pipelines.features
import pipelines.ingest
from pipelines.entries import Section, inlined, unknown_key
from pipelines.errors import UserError
from pipelines.features.feature import Feature
from pipelines.features.feature import Field as SourceField
from pipelines.features.image import Image
from pipelines.features.scan import Scan
from pipelines.ingest.augmentation.augmentation import Augmentation
from pipelines.ingest.sources.source import Source

Settings = TypeVar("Settings", bound=BaseModel)


class DataSection(Section):
    """What the model learns from.

    Beside these settings there is one for each feature of the task's examples, for instance `image`: see `fill`.

    Args:
        source: a name, tfds:<name>, or image_folder / tfrecord with settings.
        augment: random changes of training examples, in order.
        batch: examples per training step.
        validation: share of the training part to hold out for validation, where the source has no such part.
        test: the same for the test part.
        per_class: training examples of one class that come one behind the other, so that a batch has several of each:
            for losses on the distances between examples.
        group: what examples have in common that must not be in two splits: a patient, say, or the folder that a file
            is in. By default what the source says.
        max_unreadable: the largest share of unreadable examples to go on with.
        labels: true, or model where they are but the answers of the model that is pressed: accuracy is then the share
            of examples on which a file answers as that model does.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    source: Source
    augment: list[Augmentation] = []
    batch: int = Field(64, ge=1)
    per_class: int = Field(1, ge=1)
    validation: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)
    group: str | None = Field(None, min_length=1)
    max_unreadable: float = Field(0.01, ge=0, le=1)
    labels: Literal["true", "model"] = "true"

    @field_validator("labels", mode="before", json_schema_input_type=Literal["true", "model", True])
    @classmethod
    def yaml_reads_true_as_a_boolean(cls, value: Any) -> Any:
        """Return the word for YAML's boolean."""
        return "true" if value is True else value

    def fill(self, features: Mapping[str, type[BaseModel]]) -> None:
        """Check the features' settings, and fill their defaults in.

        Args:
            features: what a task's examples are made of, by name, or what else the task lets a recipe set here.

        Raises:
            ValidationError, PydanticCustomError: a setting that no feature has, a bad value, or an augmentation that
                does not go with the features; for the recipe to raise on, each with its location below `data`.
        """
        extra = self.__pydantic_extra__
        assert extra is not None
        known = [*type(self).model_fields, *features]

        def refuse_unknown_keys(settings: dict[str, Any]) -> dict[str, Any]:
            for key in extra:
                if key not in features:
                    raise unknown_key(key, known)
            return settings

        section: Any = TypedDict("section", dict(features))  # type: ignore[misc, operator]
        checked: Any = Annotated[section, BeforeValidator(refuse_unknown_keys)]
        recipe: Any = TypedDict("recipe", {"data": checked})  # type: ignore[misc]
        settings = {name: extra.get(name, {}) for name in features}
        filled = TypeAdapter(recipe).validate_python({"data": settings})["data"]
        described = {name: feature for name, feature in filled.items() if isinstance(feature, Feature)}
        filled |= {name: feature.beside(described) for name, feature in described.items()}
        self._refuse_misfits({name: feature.role for name, feature in described.items()})
        extra.clear()
        extra.update({name: feature.model_dump() for name, feature in filled.items()})

    def feature(self, name: str, kind: type[Feature]) -> Feature:
        """Return the feature of this name, with its settings."""
        return self.setting(name, kind)

    def suited(self, name: str, kind: type[Feature], fields: Mapping[str, SourceField]) -> Feature:
        """Return the feature of this name as it reads its field: an image that is an array as a scan. Raises UserError
        where a setting is for scans alone."""
        described = self.feature(name, kind)
        field = fields.get(described.field_name(name))
        if not isinstance(described, Image) or field is None:
            return described
        if field.kind == "array":
            return self.feature(name, Scan)
        if described.window is not None:
            raise UserError(f"data.{name}.window is for scans of more than 8 bits, and the source's images are files "
                            "of 8; leave it out")
        return described

    def setting(self, name: str, kind: type[Settings]) -> Settings:
        """Return what stands here under a name that the task knows."""
        return kind.model_validate((self.__pydantic_extra__ or {}).get(name, {}))

    def files(self, settings: Mapping[str, type[BaseModel]]) -> dict[str, str]:
        """Return what changes with the files that features read beside the source, by the name of the feature.

        Args:
            settings: what the task lets a recipe set here, by name.
        """
        features = {name: self.setting(name, kind) for name, kind in settings.items() if issubclass(kind, Feature)}
        return {name: text for name, feature in features.items() if (text := feature.fingerprint())}

    def _refuse_misfits(self, roles: Mapping[str, Any]) -> None:
        for number, entry in enumerate(self.augment):
            if reason := entry.misfit(roles):
                raise PydanticCustomError("combination", "{reason}", {
                    "reason": reason, "at": ["data", "augment", number]})

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        described = handler(schema)
        section = handler.resolve_ref_schema(described)
        for name, kind in sorted(pipelines.features.Feature.choices.items()):
            settings = inlined(kind.model_json_schema())
            section["properties"][name] = {**settings, "description": (kind.__doc__ or "").split("\n")[0]}
        # features that a task calls something else, and what a task sets in their place
        section["additionalProperties"] = {"type": ["object", "string"]}
        return described
