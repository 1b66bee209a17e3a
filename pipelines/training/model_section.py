"""The part of a recipe that says what the network is."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator
from pydantic_core import PydanticCustomError

import models
import pipelines.training.hub_weights
import pipelines.training.torch_weights  # noqa: F401
from export.keras_models import file as keras_file
from export.keras_models.pixels import Pixels
from export.onnx_models.reader import Layout
from models.registry import own_layers
from pipelines.entries import Section, inlined, nearest, unknown_key
from pipelines.training.weights import Weights

keras_file.KNOWN.extend(own_layers)
#: The builder that takes a model as it is.
FILE = "file"


class ImportedModel(Section):
    """A model that was made elsewhere: a .keras, .h5, .tflite, .onnx or .pb file, or a SavedModel folder.

    It is not trained any more.

    Args:
        path: of the file or folder.
        pixels: the range that it learnt on. Where it is not given, 0..255, unless the data say that this cannot be.
        allow_code: run the Python code that its file holds (a Lambda layer), in a process of its own, once; what comes
            of it is taken as a graph, which is not trained any further.
        columns: of a table, by the names of the inputs that they become, in the order in which the model takes them.
        head: of a detector, how its output is read.
        layout: of an .onnx file, which has channels first: nhwc takes and gives images channels last.
    """

    path: str = Field(min_length=1)
    pixels: Pixels | None = None
    allow_code: bool = False
    columns: tuple[str, ...] = ()
    head: Head | None = None
    layout: Layout | None = None


class Head(BaseModel):
    """How the only output of a detector made elsewhere is read: for each place centre x, centre y, width and height,
    and a score for each class, 0 to 1.

    Args:
        boxes: what they are counted in: pixels of the model's input, or shares of it.
        places: how many boxes there are before any is left out.
        objectness: before the scores of the classes stands how likely there is anything; scores are multiplied with it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    boxes: Literal["pixels", "shares"]
    places: int = Field(ge=1)
    objectness: bool = False

    def __str__(self) -> str:
        likely = "how likely there is anything, " if self.objectness else ""
        return (f"its output is read as {self.places:,} boxes: centre x, centre y, width and height in {self.boxes}, "
                f"{likely}and a score for each class")


class ModelSection(Section):
    """The network: a builder's name, what its weights start from, and the builder's settings."""

    model_config = ConfigDict(extra="allow", frozen=True)
    builder: str
    weights: Weights | None = None

    @field_validator("builder")
    @classmethod
    def must_be_known(cls, name: str) -> str:
        names = [*(builder.name for builder in models.builders()), FILE]
        if name not in names:
            raise PydanticCustomError("unknown_entry", "no such builder", {
                "kind": "builder", "entry": name, "nearest": nearest(name, names), "known": names})
        return name

    @model_validator(mode="after")
    def fill_settings(self) -> ModelSection:
        extra = self.__pydantic_extra__
        assert extra is not None
        settings = ImportedModel if self.builder == FILE else models.builder(self.builder).settings()
        for key in extra:
            if key not in settings.model_fields:
                raise unknown_key(key, ["builder", "weights", *settings.model_fields])
        extra.update(settings.model_validate(extra).model_dump())
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """Return the builder's settings, all filled in."""
        return dict(self.__pydantic_extra__ or {})

    @property
    def imported(self) -> ImportedModel | None:
        """Return the model made elsewhere that is taken as it is, if one is."""
        return ImportedModel.model_validate(self.settings) if self.builder == FILE else None

    def fingerprint(self) -> str:
        """Return what changes when the files change that the weights come from."""
        if self.imported is not None:
            path = Path(self.imported.path)
            beside = [path.with_name(f"{path.name}{ending}") for ending in ("", ".data", "_data")]  # weights of ONNX
            files = sorted(path.rglob("*")) if path.is_dir() else [file for file in beside if file.exists()]
            return " ".join(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)
        return self.weights.fingerprint() if self.weights is not None else ""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        choices, weights = [], inlined(TypeAdapter(Weights).json_schema())
        for builder in models.builders():
            one = builder.settings().model_json_schema()
            one["properties"] = {"builder": {"const": builder.name, "description": builder.summary}, "weights": weights,
                                 **one.get("properties", {})}
            one["required"] = ["builder", *one.get("required", [])]
            choices.append(one)
        file = inlined(ImportedModel.model_json_schema())
        builder_schema = {"const": FILE, "description": "A model that was made elsewhere"}
        file["properties"] = {"builder": builder_schema, **file["properties"]}
        choices.append({**file, "required": ["builder", *file["required"]]})
        return {"anyOf": choices}
