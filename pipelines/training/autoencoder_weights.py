"""Weights of the autoencoder that a diffusion learns in, as a recipe entry."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from models import latent_diffusion
from pipelines.training.pretrained_weights import KERAS
from pipelines.training.weights import Weights, stamp

if TYPE_CHECKING:
    import keras

#: The builder that has such weights.
BUILDER = "latent_diffusion"


class Autoencoder(Weights, name="autoencoder", shorthand="of"):
    """A trained autoencoder, whose latents a latent diffusion learns to make; it stays as it is.

    Args:
        of: its recipe, which is trained first where it has not been; the folder of a run; or a .keras file.
        file: the model's; it is found by `of` where not given.
    """

    of: str = Field(min_length=1)
    file: str | None = Field(None, min_length=1)

    def suit(self, model: keras.Model, builder: str, settings: dict[str, Any]) -> None:
        if builder != BUILDER:
            raise ValueError(f"weights of an autoencoder are for {BUILDER}, not for {builder}: leave them out")

    def load(self, model: keras.Model, builder: str, settings: dict[str, Any]) -> list[str]:
        path = Path(self.file or self.of)
        if path.suffix != KERAS:
            raise ValueError(f"{self.of} has not been trained; litepress run trains it first")
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
        return latent_diffusion.load_autoencoder(model, path)

    def fingerprint(self) -> str:
        return stamp(self.file or self.of)
