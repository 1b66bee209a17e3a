"""State dicts of PyTorch, of torchvision and timm, in the networks that are built here: the same logits."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epy

from models import pretrained, torch_form
from models.torch_names import names_of

with epy.lazy_imports():
    import keras
    import numpy as np

#: Epsilon of batch normalization in torchvision, by what a builder's name begins with, and in timm.
EPSILONS, OF_TIMM = {"resnet": 1e-5, "mobilenet_v2": 1e-5, "mobilenet_v3": 1e-3, "efficientnet": 1e-5}, 1e-5
#: What of a module holds what is in a Keras layer, in the order of the layer's weights.
NORMALIZED = ("weight", "bias", "running_mean", "running_var")


def formed(model: keras.Model, builder: str, path: Path) -> keras.Model:
    """Return a fresh network as PyTorch has it, which takes raw pixels and scales them as torchvision does.

    Args:
        path: of the state dict that it is to have, which says by its names whose it is.

    Raises:
        ValueError: it is not built on images of three channels, or the file cannot be read.
    """
    if model.inputs[0].shape[-1] != 3:
        raise ValueError("weights of PyTorch are for colour: set data.image.channels to 3, which grey images are "
                         "repeated to")
    epsilon = next((value for name, value in EPSILONS.items() if builder.startswith(name)), None)
    if epsilon is not None and "conv_stem.weight" in read(path):
        epsilon = OF_TIMM
    made = model if epsilon is None else torch_form.formed(model, epsilon)
    scaling = [layer for layer in made.layers if isinstance(layer, keras.layers.Normalization)]
    if scaling:  # EfficientNet's own, behind a division by 255
        scaling[0].set_weights([np.array(pretrained.MEAN, "float32") / 255,
                                np.square(np.array(pretrained.DEVIATION, "float32") / 255),
                                *scaling[0].get_weights()[2:]])
        pretrained.finalize(scaling[0])
    else:
        pretrained.adopt_scaling(made, "torch")
    return made


def load(model: keras.Model, builder: str, path: Path) -> list[str]:
    """Load a state dict into a network that `formed` made; into all but the classifier where that has other classes.

    Args:
        path: a .safetensors file.

    Returns:
        The names of the layers that have weights now.

    Raises:
        ValueError: it cannot be read, or is of another network.
    """
    state = read(path)
    names = names_of(builder, model, state)
    used: set[str] = set()
    loaded = []
    for layer in pretrained.weighted(model):
        owner = _owner(model, layer)
        if owner.name in loaded:
            continue
        if owner.name not in names:
            raise ValueError(f"{path}: there is no rule for layer {owner.name}")
        module = names[owner.name]
        values = _values(owner, module, state, used, path)
        shapes = [tuple(weight.shape) for weight in owner.weights]
        if [value.shape for value in values] != shapes:
            if owner.name in ("logits", "class_maps"):
                used |= {key for key in state if key.startswith(f"{module}.")}
                continue
            raise ValueError(f"{path}: {module} has {[value.shape for value in values]} where layer {owner.name} has "
                             f"{shapes}: it is of another network or another size")
        owner.set_weights(values)
        loaded.append(owner.name)
    left = sorted(key for key in state if key not in used and not key.endswith("num_batches_tracked"))
    if left:
        raise ValueError(f"{path} has {left[0]}, which {builder} has no layer for: it is of another network")
    return loaded


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a .safetensors file by name, in float32. Raises ValueError."""
    if path.suffix != ".safetensors":
        raise ValueError(f"{path} is not a .safetensors file; write one in PyTorch: from safetensors.torch import "
                         "save_file; save_file(model.state_dict(), \"weights.safetensors\")")
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ValueError(f"{path}: safetensors is not installed; .venv/bin/pip install -e '.[torch]' brings it"
                         ) from error
    try:
        with safe_open(str(path), "np") as file:
            return {name: file.get_tensor(name).astype("float32") for name in file.keys()}  # noqa: SIM118  not a dict
    except (SafetensorError, OSError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as a .safetensors file: {str(error).splitlines()[0]}") from error


def _owner(model: keras.Model, layer: Any) -> Any:
    """Return the layer of a model that a layer is, or is a part of."""
    for own in model.layers:
        if own is layer or (layer in own._flatten_layers() and not isinstance(own, keras.Model)):
            return own
    return layer


def _values(layer: Any, module: str, state: Mapping[str, np.ndarray], used: set[str], path: Path) -> list[np.ndarray]:
    """Return what a layer's weights are, in its order. Raises ValueError where the state dict lacks some."""
    def take(key: str) -> np.ndarray:
        if key not in state:
            raise ValueError(f"{path} has no {key}, which layer {layer.name} is: it is of another network")
        used.add(key)
        return state[key]

    kinds = keras.layers
    if isinstance(layer, kinds.Embedding):
        return [take(module).reshape(layer.weights[0].shape[0], -1)]
    if isinstance(layer, kinds.BatchNormalization):
        return [take(f"{module}.{name}") for name in NORMALIZED]
    if isinstance(layer, kinds.LayerNormalization):
        return [take(f"{module}.weight"), take(f"{module}.bias")]
    if isinstance(layer, kinds.MultiHeadAttention):
        return _attention(layer, module, state, take)
    if isinstance(layer, kinds.DepthwiseConv2D):
        if module in state:  # a factor for each channel
            return [take(module).reshape(1, 1, -1, 1)]
        kernel = take(f"{module}.weight").transpose(2, 3, 0, 1)
    else:
        kernel = take(f"{module}.weight")
        if isinstance(layer, kinds.Conv2D):
            kernel = kernel.reshape(*kernel.shape, *(1,) * (4 - kernel.ndim)).transpose(2, 3, 1, 0)
        else:
            kernel = kernel.reshape(kernel.shape[:2]).T
    if not layer.use_bias:
        return [kernel]
    has = f"{module}.bias" in state
    return [kernel, take(f"{module}.bias") if has else np.zeros(kernel.shape[-1], "float32")]


def _attention(layer: Any, module: str, state: Mapping[str, np.ndarray], take: Any) -> list[np.ndarray]:
    """Return the weights of attention: query, key, value, and what brings the heads together."""
    of_timm = f"{module}.qkv.weight" in state
    together, outer = ("qkv.{}", "proj") if of_timm else ("in_proj_{}", "out_proj")
    kernel, bias = (take(f"{module}.{together.format(name)}") for name in ("weight", "bias"))
    heads, size = layer.num_heads, layer.key_dim
    values: list[np.ndarray] = []
    for weight, shift in zip(np.split(kernel, 3), np.split(bias, 3), strict=True):
        values += [weight.T.reshape(-1, heads, size), shift.reshape(heads, size)]
    last = take(f"{module}.{outer}.weight").T
    return [*values, last.reshape(heads, size, -1), take(f"{module}.{outer}.bias")]
