"""Vision Transformers as backbones: their tokens laid out as maps of several levels."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras

#: Layers of a Vision Transformer, by their names.
PATCHES, CLASS_TOKEN = "patch_embedding", "class_token"


def has_tokens(network: keras.Model) -> bool:
    """Return whether a network is a Vision Transformer without its end."""
    names = {layer.name for layer in network.layers}
    return PATCHES in names and CLASS_TOKEN in names


def token_maps(network: keras.Model, levels: Sequence[int]) -> dict[int, Any]:
    """Return maps that are made of the last tokens alone, by level: the simple feature pyramid of Li et al., "Exploring
    Plain Vision Transformer Backbones for Object Detection", 2022, section 3, without its last convolutions, which
    heads have themselves.

    Finer maps than the patches are made by transposed convolutions, each of which doubles the resolution and halves the
    channels, with normalization and GELU in between; coarser ones by pooling.

    Args:
        network: a Vision Transformer without its end.
        levels: the map of level n has 1 / 2**n of the image's resolution.

    Raises:
        ValueError: the side of a patch is not a power of 2.
    """
    layers = keras.layers
    patches = network.get_layer(PATCHES)
    side = int(patches.kernel_size[0])
    if side & (side - 1):
        raise ValueError(f"patches of {side} pixels make no maps whose resolution is halved; give 4, 8, 16 or 32")
    tokens = next(layer for layer in reversed(network.layers) if isinstance(layer, layers.LayerNormalization)).output
    height, width, units = patches.output.shape[1:]
    x = layers.Reshape((height, width, units), name="token_map")(tokens[:, 1:])
    own = side.bit_length() - 1
    maps = {own: x}
    finer = x
    for level in range(own - 1, min([own, *levels]) - 1, -1):
        name = f"token_map_p{level}"
        if level < own - 1:
            finer = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm")(finer)
            finer = layers.Activation("gelu", name=f"{name}_gelu")(finer)
        finer = layers.Conv2DTranspose(max(1, units >> (own - level)), 2, 2, name=name)(finer)
        maps[level] = finer
    coarser = x
    for level in range(own + 1, max([own, *levels]) + 1):
        coarser = layers.MaxPooling2D(1, 2, padding="same", name=f"token_map_p{level}")(coarser)
        maps[level] = coarser
    return maps
