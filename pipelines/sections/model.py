"""The part of a recipe that says what the network is."""
from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, TypeAdapter, field_validator, model_validator
from pydantic_core import PydanticCustomError

import models
from pipelines.entries import Section, inlined, nearest, unknown_key
from pipelines.training.weights import Weights


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
