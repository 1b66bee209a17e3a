"""Weights that were learnt elsewhere: from keras.applications, KerasHub, or a file.

A network was trained on pixels scaled in its own way. Here the scaling is the model's first layer, so that layer takes
over the network's way, and what ships still takes raw pixels 0..255.
"""
from __future__ import annotations

import dataclasses
import itertools
import json
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from etils import epy

from models import backbones

with epy.lazy_imports():
    import keras
    import numpy as np

#: How the names begin of layers with weights that tell classes apart: dense ones, and convolutions whose maps are
#: pooled or enlarged.
CLASSIFIERS = ("logits", "class_maps")
#: Mean and deviation of ImageNet's red, green and blue, 0..255.
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CAFFE_MEAN = (123.68, 116.779, 103.939)
#: How networks want their pixels: factor and offset for red, green and blue. `own`: the network scales them itself.
Pixels = Literal["tf", "torch", "caffe", "own"]
SCALING: dict[str, tuple[Any, Any]] = {
    "tf": (1 / 127.5, -1),
    "torch": ([1 / deviation for deviation in DEVIATION],
              [-mean / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)]),
    "caffe": (1.0, [-mean for mean in CAFFE_MEAN])}


@dataclasses.dataclass(frozen=True)
class Application:
    """The network of keras.applications that a builder's weights can come from.

    Args:
        name: in keras.applications.
        pixels: how it wants them; `caffe` ones come as blue, green, red.
        settings: the builder's settings that the network must be made with.
        plain: settings of the builder that must be at their defaults, for the weights to fit.
        by: how its layers are found in ours: by name, or by order where ours have other names, or both are numbered as
            they are made.
    """

    name: str
    pixels: Pixels
    settings: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    by: Literal["name", "order"] = "name"


def _table() -> dict[str, Application]:
    scaled = ("width", "depth")
    table = {
        "mobilenet_v1": Application("MobileNet", "tf", ("alpha",)),
        "mobilenet_v2": Application("MobileNetV2", "tf", ("alpha",)),
        "mobilenet_v3_small": Application("MobileNetV3Small", "tf", ("alpha", "minimalistic")),
        "mobilenet_v3_large": Application("MobileNetV3Large", "tf", ("alpha", "minimalistic")),
        "inception_v3": Application("InceptionV3", "tf", plain=("width",), by="order"),
        "vgg16": Application("VGG16", "caffe", plain=("width", "batch_norm"), by="order"),
        "vgg19": Application("VGG19", "caffe", plain=("width", "batch_norm"), by="order"),
        "efficientnet_v2_s": Application("EfficientNetV2S", "own", plain=scaled)}
    for depth in (50, 101, 152):
        table[f"resnet{depth}"] = Application(f"ResNet{depth}", "caffe")
        table[f"resnet{depth}_v2"] = Application(f"ResNet{depth}V2", "tf")
    table |= {f"densenet{depth}": Application(f"DenseNet{depth}", "torch", plain=scaled) for depth in (121, 169, 201)}
    table |= {f"efficientnet_b{size}": Application(f"EfficientNetB{size}", "own", plain=scaled) for size in range(8)}
    for size in range(4):
        table[f"efficientnet_v2_b{size}"] = Application(f"EfficientNetV2B{size}", "own", plain=scaled)
    return table


APPLICATIONS = _table()


def application(builder: str, settings: dict[str, Any], channels: int) -> Application:
    """Return where a builder's ImageNet weights come from. Raises ValueError where there are none that fit."""
    source = APPLICATIONS.get(builder)
    if source is None:
        raise ValueError(f"keras.applications has no weights for {builder}; it has some for "
                         f"{', '.join(sorted(APPLICATIONS))}")
    changed = [name for name in source.plain if settings.get(name) not in (None, 1.0, False)]
    if changed:
        raise ValueError(f"ImageNet weights are for {builder} as published: leave {' and '.join(changed)} out")
    if channels != 3:
        raise ValueError("ImageNet weights are for colour: set data.image.channels to 3, which grey images "
                         "are repeated to")
    return source


def adopt_scaling(model: keras.Model, pixels: Pixels) -> None:
    """Make a model's first layer scale raw RGB pixels as a network wants them."""
    if pixels == "own":
        return
    rescaling = next(layer for layer in model.layers if isinstance(layer, keras.layers.Rescaling))
    rescaling.scale, rescaling.offset = SCALING[pixels]


def adopt_scaling_of(model: keras.Model, path: Path) -> None:
    """Make a model's first layer scale pixels as the model in a .keras file does; of other files nothing is known."""
    try:
        with zipfile.ZipFile(path) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return  # loading it says what is wrong
    theirs = next((layer["config"] for layer in layers if layer["class_name"] == "Rescaling"), None)
    ours = next((layer for layer in model.layers if isinstance(layer, keras.layers.Rescaling)), None)
    if theirs and ours:
        ours.scale, ours.offset = theirs["scale"], theirs["offset"]


def load_imagenet(model: keras.Model, source: Application, settings: dict[str, Any],
                  path: Path | None = None) -> list[str]:
    """Load what keras.applications learnt on ImageNet into all but the classifier.

    Args:
        model: the builder's, with the network's scaling.
        source: see `application`.
        settings: the builder's.
        path: a file of the network's weights, without top, as keras.applications downloads it; downloaded where not
            given.

    Returns:
        The names of the layers that have weights now, in the model's order.

    Raises:
        ValueError: the weights cannot be had, or do not fit.
    """
    variant = {name: settings[name] for name in source.settings}
    weights = str(path) if path else "imagenet"
    try:
        network = getattr(keras.applications, source.name)(include_top=False, weights=weights, **variant)
    except Exception as error:
        raise ValueError(f"the ImageNet weights of {source.name} {variant or ''} cannot be "
                         f"{'read' if path else 'downloaded'}: {_first_line(error)}. Give a file that is here: "
                         "weights: {imagenet: FILE}, the one without top, from https://keras.io/api/applications"
                         ) from error
    loaded = _by_name(network, model) if source.by == "name" else _in_order(network, model)
    if source.pixels == "caffe":  # the network's first layer sees blue first, ours red
        first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
        first.kernel.assign(np.asarray(first.kernel)[:, :, ::-1])
    if source.name.startswith("EfficientNetB"):
        _divide_by_deviation(model)
    return loaded


def load_file(model: keras.Model, path: Path) -> list[str]:
    """Load the weights of a .keras file, or of a .weights.h5 file of the same builder, into all layers that they fit.

    From the first layer on, all must fit up to a last part, the classifier, which may have another number of classes.
    Into a model that was built on a backbone goes a .keras file of its own kind as a whole; of a classifier, and of any
    .weights.h5 file, it takes the backbone's.

    Returns:
        The names of the layers that have weights now, in the model's order.

    Raises:
        ValueError: the file cannot be read, or does not fit.
    """
    backbone = backbones.inside(model)
    try:
        if path.suffix == ".keras":
            network = keras.models.load_model(path, compile=False)
            is_classifier = backbone is not None and backbones.inside(network) is None
            loaded = _in_order(network, backbone if is_classifier else model)
            _take_normalization(network, model)
            return loaded
        if backbone is not None:
            with warnings.catch_warnings(action="ignore"):  # Keras warns of the classifier, which is not wanted
                backbone.load_weights(path)
            return [layer.name for layer in weighted(backbone)]
        before = [[np.array(weight) for weight in layer.weights] for layer in weighted(model)]
        with warnings.catch_warnings(action="ignore"):  # Keras prints all weights of a classifier that does not fit
            model.load_weights(path, skip_mismatch=True)
    except Exception as error:
        raise ValueError(f"the weights of {path} do not fit: {_first_line(error)}") from error
    changed = [layer.name for layer, old in zip(weighted(model), before, strict=True)
               if any((np.array(new) != was).any() for new, was in zip(layer.weights, old, strict=True))]
    if not changed:
        raise ValueError(f"no weights of {path} fit: it must come from the same builder with the same settings")
    return changed


def load_hub(model: keras.Model, preset: str) -> list[str]:
    """Load the backbone of a KerasHub ViT preset, by name or from a folder, into a ViT of the same size and image size.

    Returns:
        The names of the layers that have weights now, in the model's order.

    Raises:
        ValueError: KerasHub is not installed, the preset cannot be had, or it does not fit.
    """
    backbone = hub_backbone(preset)
    class_token, kernel, bias, *rest = backbone.weights
    theirs = [kernel, bias, class_token, *rest]  # ours come in the order in which they are used
    backbone_layers = [layer for layer in model.layers if layer.weights and layer.name != "logits"]
    ours = [weight for layer in backbone_layers for weight in layer.weights]
    for mine, other in itertools.zip_longest(ours, theirs):
        if mine is None or other is None or _plain(mine.shape) != _plain(other.shape):
            has, wants = ("none" if weight is None else tuple(weight.shape) for weight in (other, mine))
            raise ValueError(f"the preset {preset} has weights {has} where this model has {wants}: it wants the same "
                             "variant, patch and data.image.size")
    for mine, other in zip(ours, theirs, strict=True):
        mine.assign(np.asarray(other).reshape(mine.shape))
    return [layer.name for layer in weighted(model) if layer.name != "logits"]


def hub_backbone(preset: str) -> Any:
    """Return the network of a KerasHub preset, by name or from a folder. Raises ValueError where KerasHub is not
    installed or the preset cannot be had."""
    try:
        import keras_hub
    except ImportError as error:
        raise ValueError("weights from KerasHub want the extra hub: .venv/bin/pip install -e '.[hub]'") from error
    try:
        return keras_hub.models.Backbone.from_preset(preset)
    except Exception as error:
        reason = _first_line(error)
        raise ValueError(f"the preset {preset} cannot be had: {reason}. Give a folder that is here") from error


def weighted(model: Any) -> list[Any]:
    """Return the layers of a model, and of models and layers inside it, that have weights of their own, from input to
    output."""
    layers = [layer for layer in model._flatten_layers(include_self=False) if not layer._layers and layer.weights]
    return [layer for layer in layers if not isinstance(layer, keras.layers.Normalization)]


def _by_name(network: keras.Model, model: keras.Model) -> list[str]:
    """Pair layers that are called alike. A backbone may end before the network does, and a classifier behind it."""
    ours = {layer.name: layer for layer in model.layers}
    scaling = next((layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)), None)
    may_end = backbones.inside(model) is not None
    loaded = []
    for layer in network.layers:
        if layer.weights:
            mine = scaling if isinstance(layer, keras.layers.Normalization) else ours.get(layer.name)
            if mine is not None:
                _take(layer, mine)
                loaded.append(mine.name)
            elif not may_end:
                raise ValueError(f"{network.name} has a layer {layer.name}, this model has none")
    ours_in_order = [layer.name for layer in weighted(model)]
    if not loaded:
        raise ValueError(f"this model has no layer that {network.name} has: it would not start from weights")
    behind = max(number for number, name in enumerate(ours_in_order, start=1) if name in loaded)
    if left := [name for name in ours_in_order[:behind] if name not in loaded]:
        raise ValueError(f"this model has a layer {left[0]}, {network.name} has none: it would not start from weights")
    return loaded


def _in_order(network: Any, model: keras.Model) -> list[str]:
    """Pair layers from the first on; stops where shapes differ, which only the classifier's may."""
    ours, theirs = weighted(model), weighted(network)
    loaded = []
    for mine, other in zip(ours, theirs, strict=False):
        if not _fits(other, mine):
            break
        loaded.append((other, mine))
    rest = ours[len(loaded):]
    classifier = [layer for layer in rest
                  if isinstance(layer, keras.layers.Dense) or layer.name.startswith(CLASSIFIERS)]
    if not loaded or len(classifier) < len(rest):
        stranger = rest[0] if rest else model
        other = theirs[len(loaded)] if len(theirs) > len(loaded) else None
        raise ValueError(f"layer {stranger.name} has weights {_shapes(stranger)}, {other.name if other else 'nothing'} "
                         f"in its place has {_shapes(other) if other else 'none'}: the weights are of another model")
    for other, mine in loaded:
        _take(other, mine)
    return [mine.name for _, mine in loaded]


def _take_normalization(network: Any, model: keras.Model) -> None:
    """Take over what pixels are normalized with, which no training changes."""
    theirs, ours = ([layer for layer in one.layers if isinstance(layer, keras.layers.Normalization)]
                    for one in (network, model))
    if theirs and ours:
        _take(theirs[0], ours[0])


def _fits(other: Any, mine: Any) -> bool:
    return [_plain(shape) for shape in _shapes(other)] == [_plain(shape) for shape in _shapes(mine)]


def _plain(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size != 1]


def _shapes(layer: Any) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _take(other: Any, mine: Any) -> None:
    if not _fits(other, mine):
        raise ValueError(f"layer {mine.name} has weights {_shapes(mine)}, the ones to load are {_shapes(other)}")
    pairs = zip(other.weights, mine.weights, strict=True)
    mine.set_weights([np.asarray(theirs).reshape(ours.shape) for theirs, ours in pairs])
    finalize(mine)


def finalize(layer: Any) -> None:
    """Let a normalization layer, whose weights were set, use them."""
    if type(layer).__name__ == "Normalization" and layer.built:
        layer.finalize_state()


def _divide_by_deviation(model: keras.Model) -> None:
    """Divide the pixels once more, by the root of the deviation, as EfficientNet's ImageNet weights want it."""
    normalization = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance, count = normalization.get_weights()
    normalization.set_weights([mean, variance * np.array(DEVIATION, "float32") / 255, count])
    finalize(normalization)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
