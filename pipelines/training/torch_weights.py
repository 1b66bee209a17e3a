"""Weights of PyTorch, as a recipe entry of its own: only recipes that name it depend on its code."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from models import backbones, torch_weights
from pipelines.training.weights import Weights, stamp

if TYPE_CHECKING:
    import keras


class TorchWeights(Weights, name="torch", shorthand="path"):
    """A state dict of torchvision or timm, of resnet18, 34, 50, 101 and 152, mobilenet_v2 and v3, efficientnet_b0,
    convnext and vit. The network is then drawn as PyTorch draws it: padded on both sides alike where it is halved, with
    PyTorch's epsilon.

    Args:
        path: a .safetensors file.
    """

    path: str = Field(min_length=1)

    def form(self, model: keras.Model, builder: str, settings: dict[str, Any]) -> keras.Model:
        if backbones.inside(model) is not None:
            raise ValueError(f"weights of PyTorch are for classifiers, and {builder} is built on one")
        return torch_weights.formed(model, builder, Path(self.path).expanduser())

    def load(self, model: keras.Model, builder: str, settings: dict[str, Any]) -> list[str]:
        return torch_weights.load(model, builder, Path(self.path).expanduser())

    def fingerprint(self) -> str:
        return stamp(self.path)
