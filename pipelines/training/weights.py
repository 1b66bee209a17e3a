"""What a training starts from: weights that were learnt elsewhere, as recipe entries."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from models import backbones, pretrained
from pipelines.entries import Entry

if TYPE_CHECKING:
    import keras


class Weights(Entry):
    """Where the weights come from before the training begins: a model's own, or those of the classifier that it was
    built on. All methods raise ValueError where they do not fit."""

    def suit(self, model: keras.Model, builder: str, settings: dict[str, Any]) -> None:
        """Make a fresh model take its pixels as the weights want them."""

    def form(self, model: keras.Model, builder: str, settings: dict[str, Any]) -> keras.Model:
        """Return a fresh model as the network is drawn where the weights come from; by default as it is."""
        return model

    def load(self, model: keras.Model, builder: str, settings: dict[str, Any]) -> list[str]:
        """Load the weights; return the names of the layers that have some now, from input to output."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Return what changes when the weights do."""
        return ""


class Imagenet(Weights, name="imagenet", shorthand="path"):
    """What keras.applications learnt on ImageNet, all but the classifier.

    Args:
        path: its file of weights without top; downloaded where not given.
    """

    path: str | None = Field(None, min_length=1)

    def suit(self, model: keras.Model, builder: str, settings: dict[str, Any]) -> None:
        part, builder, settings = backbones.pretrained_part(model, builder, settings)
        source = pretrained.application(builder, settings, model.inputs[0].shape[-1])
        pretrained.adopt_scaling(part, source.pixels)

    def load(self, model: keras.Model, builder: str, settings: dict[str, Any]) -> list[str]:
        part, builder, settings = backbones.pretrained_part(model, builder, settings)
        source = pretrained.application(builder, settings, model.inputs[0].shape[-1])
        return pretrained.load_imagenet(part, source, settings, _existing(self.path) if self.path else None)

    def fingerprint(self) -> str:
        return stamp(self.path)


class WeightsFile(Weights, name="file", shorthand="path"):
    """A .keras file, such as the train stage leaves, or a .weights.h5 file, of the same builder with any number of
    classes, or of the classifier that the model was built on."""

    path: str = Field(min_length=1)

    def suit(self, model: keras.Model, builder: str, settings: dict[str, Any]) -> None:
        pretrained.adopt_scaling_of(model, _existing(self.path))

    def load(self, model: keras.Model, builder: str, settings: dict[str, Any]) -> list[str]:
        return pretrained.load_file(model, _existing(self.path))

    def fingerprint(self) -> str:
        return stamp(self.path)


def _existing(path: str) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"there is no file {path}")
    return file


def stamp(path: str | None) -> str:
    """Return what changes when a file does: its name, size and time; the name alone of what is not there."""
    if path is None or not Path(path).expanduser().is_file():
        return path or ""
    status = Path(path).expanduser().stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"
