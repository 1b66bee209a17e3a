"""The weights of an encoder that was trained for something else, such as guessing hidden tokens."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from etils import epy

from models.attention import attention_class
from models.pretrained import weighted

with epy.lazy_imports():
    import keras
    import numpy as np

#: Layers behind an encoder, which another task has others of.
HEADS = ("pooler", "logits", "scores")
#: The layer of learned positions: of a model of shorter texts the first ones are taken.
POSITIONS = "positions"


def load(model: keras.Model, path: Path) -> list[str]:
    """Load the encoder of the model in a .keras file into a model with the same encoder; layers are found by their
    names, and what answers stays as it is.

    Returns:
        The names of the layers that have weights now, in the model's order.

    Raises:
        ValueError: the file cannot be read, or its encoder is another one.
    """
    try:
        other = keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    ours, theirs = ({layer.name: layer for layer in weighted(one)} for one in (model, other))
    _check_attention(model, other, path)
    encoder = [name for name in ours if name not in HEADS]
    deeper = next((name for name in theirs if name.startswith("block_") and name not in ours), None)
    if deeper is not None:
        raise ValueError(f"{path} is of another architecture: it has a layer {deeper}, and this model has none; give "
                         "the same depth")
    changes = []
    for name in encoder:
        if name not in theirs:
            raise ValueError(f"{path} is of another architecture: it has no layer {name}, which this model has; it is "
                             f"a {other.name}")
        changes.append((ours[name], [_fitted(mine, known, name, path)
                                     for mine, known in zip(ours[name].weights, theirs[name].weights, strict=True)]))
    for layer, weights in changes:
        layer.set_weights(weights)
    return encoder


def _fitted(mine: Any, other: Any, name: str, path: Path) -> np.ndarray:
    """Return a weight as ours has it. Raises ValueError where it does not fit."""
    values = np.asarray(other)
    values = values[:mine.shape[0]] if name == POSITIONS else values
    if values.shape != tuple(mine.shape):
        what = {"embedding": "vocabulary and units", POSITIONS: "length, or more, and units"}.get(name, "units")
        raise ValueError(f"{path} is of another architecture: its layer {name} has weights {tuple(other.shape)}, this "
                         f"model's {tuple(mine.shape)}; give the same {what}")
    return values


def _check_attention(model: keras.Model, other: keras.Model, path: Path) -> None:
    """Raise ValueError where attentions have weights of the same shapes and compute something else."""
    ours, theirs = ([layer for layer in one.layers if isinstance(layer, attention_class())] for one in (model, other))
    for mine, known in zip(ours, theirs, strict=False):
        for setting in ("heads", "groups", "causal", "rotary", "scaled"):
            own, its = (getattr(layer, setting) for layer in (mine, known))
            if own != its:
                raise ValueError(f"{path} is of another architecture: it has {setting}: {its}, this model {own}")
