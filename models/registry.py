"""The registry of model builders: functions from a name and settings to a Keras model."""
from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, get_type_hints

from etils import epy
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

with epy.lazy_imports():
    import keras

#: Settings that come from the data and not from the recipe's model section.
FROM_DATA = ("input_shape", "classes")


@dataclasses.dataclass(frozen=True)
class Builder:
    """A registered builder: ``build(input_shape, classes, **settings)`` gives a model from raw pixels to logits.

    Args:
        name: as recipes call it.
        family: the function that builds it, which other variants share.
        paper: where it is described.
        at: the paper's setting: input shape (height, width, channels) and number of classes.
        fixed: the settings that make it this variant of its family.
    """

    name: str
    family: str
    paper: str
    at: tuple[tuple[int, int, int], int]
    function: Callable[..., keras.Model]
    fixed: Mapping[str, Any]

    @property
    def summary(self) -> str:
        return (self.function.__doc__ or "").strip().split("\n")[0]

    def build(self, **settings: Any) -> keras.Model:
        """The model, with settings that have been checked."""
        return self.function(**self.fixed, **settings)

    def settings(self) -> type[BaseModel]:
        """A pydantic model of what the builder can be told, read off its signature."""
        hints = get_type_hints(self.function, include_extras=True, localns={"keras": SimpleNamespace(Model=object)})
        fields: dict[str, Any] = {
            name: (hints[name], ... if parameter.default is parameter.empty else parameter.default)
            for name, parameter in inspect.signature(self.function).parameters.items()
            if name not in FROM_DATA and name not in self.fixed}
        return create_model(f"{self.name} settings", __config__=ConfigDict(extra="forbid"), **fields)


_builders: dict[str, Builder] = {}


#: The setting of papers that measure on ImageNet.
IMAGENET = ((224, 224, 3), 1000)


def register(name: str, *, paper: str, at: tuple[tuple[int, int, int], int] = IMAGENET,
             **fixed: Any) -> Callable[[Callable[..., keras.Model]], Callable[..., keras.Model]]:
    """Decorator: makes a function, with some of its settings fixed, known as the builder `name`. A family has several."""
    def add(function: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
        if name in _builders:
            raise ValueError(f"two builders are called {name}")
        _builders[name] = Builder(name, function.__name__, paper, at, function, fixed)
        return function
    return add


def builders() -> list[Builder]:
    """All registered builders, by name."""
    return [_builders[name] for name in sorted(_builders)]


def builder(name: str) -> Builder:
    """The builder called `name`. Raises ValueError that names the nearest one."""
    if name not in _builders:
        near = difflib.get_close_matches(name, _builders, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(sorted(_builders))}."
        raise ValueError(f"no model builder is called {name!r}. {hint}")
    return _builders[name]


def build(name: str, *, input_shape: tuple[int, int, int], classes: int, include_top: bool = True, **settings: Any) -> keras.Model:
    """A Keras model with fresh weights.

    Args:
        name: a registered builder, see `builders`.
        input_shape: (height, width, channels) of the pictures, in pixels.
        classes: number of classes.
        include_top: with the classifier; without it, see `features`.
        settings: what the builder takes beyond that.

    Returns:
        A functional model from raw pixels 0..255, (batch, height, width, channels), to logits (batch, classes).

    Raises:
        ValueError: the builder or a setting is not known, or does not fit the input shape.

    Example:
        >>> build("resnet8", input_shape=(32, 32, 3), classes=10).count_params()
        78666
    """
    found = builder(name)
    try:
        checked = found.settings().model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"model {name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    model = found.build(input_shape=input_shape, classes=classes, **checked.model_dump())
    return model if include_top else features(model)


def features(model: keras.Model) -> keras.Model:
    """What a classifier sees: the model up to its last pooling or flattening, or, where it has none, up to its logits. It shares layers.

    Returns:
        A model to features (batch, height, width, channels), or (batch, units) where the classifier sees no picture.
    """
    operation, classified = main_output(model).output._keras_history.operation, None
    while not isinstance(operation, keras.layers.InputLayer):
        if getattr(operation, "weights", None) and classified is None:
            classified = operation.input  # what the logits are made of
        if classified is not None and isinstance(operation, (keras.layers.GlobalAveragePooling2D, keras.layers.Flatten)):
            return keras.Model(model.input, operation.input, name=model.name)
        if isinstance(operation.input, (list, tuple)):
            break
        operation = operation.input._keras_history.operation
    return keras.Model(model.input, classified, name=model.name)


def main_output(model: keras.Model) -> keras.Model:
    """What ships of a model: a training form with auxiliary heads, logits (batch, heads, classes), without them. It shares layers."""
    if len(model.output.shape) == 2:
        return model
    return keras.Model(model.input, model.get_layer("logits").output, name=model.name)
