"""Weights of a model that litepress trained before for another task, as a recipe entry."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from models import encoders
from pipelines.training.weights import Weights, stamp

if TYPE_CHECKING:
    import keras

#: The ending of a Keras file.
KERAS = ".keras"


class Pretrained(Weights, name="pretrained", shorthand="of"):
    """The encoder of a model that was trained before, for instance to guess hidden tokens; with it goes its
    vocabulary, see the tokenizer `pretrained`.

    Args:
        of: a recipe, which is trained first where it has not been; the folder of a run; or a .keras file.
        file: the model's; it is found by `of` where not given.
    """

    of: str = Field(min_length=1)
    file: str | None = Field(None, min_length=1)

    def load(self, model: keras.Model, builder: str, settings: dict[str, Any]) -> list[str]:
        return encoders.load(model, self._path())

    def fingerprint(self) -> str:
        return stamp(self.file or self.of)

    def _path(self) -> Path:
        path = Path(self.file or self.of)
        if path.suffix != KERAS:
            raise ValueError(f"{self.of} has not been trained; litepress run trains it first")
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
        return path
