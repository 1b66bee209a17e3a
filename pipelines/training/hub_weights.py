"""Weights of KerasHub's presets, as a recipe entry of its own: only recipes that name it depend on its code."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from models import hub, pretrained, registry
from pipelines.training.weights import Weights, stamp

if TYPE_CHECKING:
    import keras


class KerasHub(Weights, name="keras_hub", shorthand="preset"):
    """The backbone of a KerasHub preset, by name (vit_base_patch16_224_imagenet) or from a folder; for the vit
    builders, and for Transformers of texts: gpt, llama, mistral, qwen2, qwen3, gemma, gemma3, bert, distilbert, roberta
    and t5. Of all but T5 folders in Hugging Face's layout are taken too.

    Args:
        preset: the name or the folder.
    """

    preset: str = Field(min_length=1)

    def suit(self, model: keras.Model, builder: str, settings: dict[str, Any]) -> None:
        if builder.startswith("vit_"):
            pretrained.adopt_scaling(model, "tf")
        elif registry.builder(builder).family not in hub.BACKBONES:
            raise ValueError(f"weights from KerasHub are for the vit builders, and {', '.join(hub.BACKBONES)}, not for "
                             f"{builder}: give weights: imagenet")

    def load(self, model: keras.Model, builder: str, settings: dict[str, Any]) -> list[str]:
        family = registry.builder(builder).family
        return hub.load(model, family, self.preset) if family in hub.BACKBONES else (
            pretrained.load_hub(model, self.preset))

    def fingerprint(self) -> str:
        """Return what changes when the files of a folder do; nothing of a preset by name, which has a version."""
        folder = Path(self.preset)
        return " ".join(stamp(str(path)) for path in sorted(folder.iterdir())) if folder.is_dir() else ""
