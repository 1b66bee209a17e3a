"""Classifiers as backbones: the maps that they see an image in, level by level, for models of places in it."""
from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any

from etils import epy
from pydantic import AfterValidator

from models import registry
from models.adapt import adapted, reductions
from models.token_maps import has_tokens, token_maps

with epy.lazy_imports():
    import keras

#: How the layers are called that mark the maps of a backbone.
MARK = "backbone_p"


def _must_be_known(value: str | dict[str, dict[str, Any]]) -> str | dict[str, dict[str, Any]]:
    if isinstance(value, dict) and len(value) != 1:
        raise ValueError("give one builder, for instance {mobilenet_v2: {alpha: 0.5}}")
    name, settings = chosen(value)
    builder = registry.builder(name)
    if "image_classification" not in builder.tasks:
        raise ValueError(f"{name} is no classifier of images: a backbone is one")
    if unknown := sorted(set(settings) - set(builder.settings().model_fields)):
        raise ValueError(f"{name} has no setting {unknown[0]}; it has {', '.join(builder.settings().model_fields)}")
    return value


#: A builder of classifiers by name, or {name: its settings}.
Backbone = Annotated[str | dict[str, dict[str, Any]], AfterValidator(_must_be_known)]


def chosen(value: str | dict[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Return the builder's name and settings out of what a recipe says."""
    return (value, {}) if isinstance(value, str) else next(iter(value.items()))


def backbone(name: str | dict[str, dict[str, Any]], input_shape: tuple[int, int, int],
             levels: Sequence[int] = (2, 3, 4, 5), largest: int | None = None,
             narrow: Collection[int] = ()) -> keras.Model:
    """Return a classifier without its end, giving the maps of several levels.

    The map of a level is the last that the classifier makes before it halves the resolution again: what a stage ends
    in, or what the next block begins with, such as the expansions of MobileNetV2. Of a Vision Transformer all are made
    of its last tokens, see `models.token_maps`.

    Args:
        name: a builder of classifiers, or {name: its settings}.
        input_shape: (height, width, channels) in pixels.
        levels: those that are given; the map of level n has 1 / 2**n of the image's resolution.
        largest: what the resolution is divided by, at most: later halvings become dilations (Chen et al., "Rethinking
            Atrous Convolution", 2017), and the map of the last level is then the network's last.
        narrow: levels whose map is taken before a 1 x 1 convolution that widens it, as the expansions of MobileNets do,
            and their last convolution, which is there for the classifier.

    Returns:
        A model of raw pixels 0..255, (batch, height, width, channels), to a dict of "p2", "p3", …: (batch, height /
        2**n, width / 2**n, channels), rounded up.

    Raises:
        ValueError: the builder is not known or makes no maps, or has no map of a level.
    """
    name, settings = chosen(name)
    network = registry.build(name, include_top=False, input_shape=input_shape, classes=1, **settings)
    if has_tokens(network):
        return _marked(network, token_maps(network, levels), levels, name)
    if len(network.output.shape) != 4:
        raise ValueError(f"{name} sees no map of the image, and is no backbone")
    if largest is not None:
        network = keras.Model(network.input, adapted(network, network.input, largest=largest), name=network.name)
    maps = _maps(network)
    last = max(maps)
    if missing := [level for level in levels if level not in maps]:
        raise ValueError(f"{name} has no map of 1/{2**missing[0]} of {input_shape[0]} x {input_shape[1]} pixels; "
                         f"it has 1/{', 1/'.join(str(2**level) for level in sorted(maps))}")
    maps[last] = network.output
    maps |= {level: _before_widening(maps[level]) for level in narrow}
    return _marked(network, maps, levels, name)


def _marked(network: keras.Model, maps: dict[int, Any], levels: Sequence[int], name: str) -> keras.Model:
    """Return a model of a network's maps, by their levels."""
    marked = {f"p{level}": keras.layers.Identity(name=f"{MARK}{level}")(maps[level]) for level in sorted(levels)}
    return keras.Model(network.input, marked, name=name)


def inside(model: keras.Model) -> keras.Model | None:
    """Return the backbone that a model was built on, sharing its layers, to its maps from the first level on; None
    where it was built on none."""
    marks = sorted((layer for layer in model.layers if layer.name.startswith(MARK)), key=lambda layer: layer.name)
    return keras.Model(model.input, [mark.output for mark in marks], name=model.name) if marks else None


def pretrained_part(model: keras.Model, builder: str,
                    settings: dict[str, Any]) -> tuple[keras.Model, str, dict[str, Any]]:
    """Return what of a model can start from a classifier's weights, and the name and the settings, all filled in, of
    the classifier's builder: its backbone, or, where it was built on none, the model as it is."""
    part = inside(model) if "backbone" in settings else None
    if part is None:
        return model, builder, settings
    name, given = chosen(settings["backbone"])
    return part, name, registry.builder(name).settings().model_validate(given).model_dump()


def _maps(network: keras.Model) -> dict[int, Any]:
    """Return the last map of each level."""
    size, reduced = network.input.shape[1:3], reductions(network)
    maps: dict[int, Any] = {}
    for operation in network.operations:
        by, shape = reduced[id(operation)], getattr(getattr(operation, "output", None), "shape", ())
        if len(shape) == 4 and shape[1:3] == tuple(-(-side // by) for side in size):
            maps[by.bit_length() - 1] = operation.output
    return maps


def _before_widening(value: Any) -> Any:
    """Return what a 1 x 1 convolution made a map of, where it has more channels for it; else the map as it is."""
    operation = value._keras_history.operation
    while isinstance(operation, (keras.layers.Activation, keras.layers.ReLU, keras.layers.BatchNormalization)):
        operation = operation.input._keras_history.operation
    widens = (isinstance(operation, keras.layers.Conv2D) and operation.kernel_size == (1, 1)
              and operation.filters > operation.input.shape[-1])
    return operation.input if widens else value
