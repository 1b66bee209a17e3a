"""The registry of model builders: functions from a name, the data's dimensions and settings to a Keras model."""
from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, get_type_hints

from etils import epy
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from models.outputs import named_outputs

with epy.lazy_imports():
    import keras

#: The dimensions of papers that measure on ImageNet: (height, width, channels) in pixels, and the number of classes.
IMAGENET: dict[str, Any] = {"input_shape": (224, 224, 3), "classes": 1000}


@dataclasses.dataclass(frozen=True)
class Builder:
    """A registered builder: a function whose positional parameters are dimensions of the data, and whose keyword-only
    ones are settings.

    Args:
        name: as recipes call it.
        family: the function that builds it, which other variants share.
        tasks: what its models can be trained for.
        paper: where it is described.
        at: the paper's dimensions, for instance {"input_shape": (224, 224, 3), "classes": 1000}.
        fixed: the settings that make it this variant of its family.
        coding: of a detector, a function of the same arguments to how its boxes are read, see `models.box_coding`.
        closed_form: a function of the same arguments to how large the model is, see `models.transformer.Size`, where
            that is known without building it.
    """

    name: str
    family: str
    tasks: tuple[str, ...]
    paper: str
    at: dict[str, Any]
    function: Callable[..., keras.Model]
    fixed: Mapping[str, Any]
    coding: Callable[..., Any] | None = None
    closed_form: Callable[..., Any] | None = None

    @property
    def summary(self) -> str:
        """Return the first paragraph of the docstring, in a line."""
        return " ".join((self.function.__doc__ or "").strip().split("\n\n")[0].split())

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Return what it takes of the data, in order: the parameters before the `*`."""
        parameters = inspect.signature(self.function).parameters.values()
        return tuple(parameter.name for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY)

    def build(self, dimensions: Mapping[str, Any], settings: Mapping[str, Any]) -> keras.Model:
        """Return a model with fresh weights.

        Args:
            dimensions: at least those that the builder takes; others are left aside.
            settings: that have been checked.

        Raises:
            ValueError: a dimension is missing, or a setting does not fit the dimensions.
        """
        if missing := [name for name in self.dimensions if name not in dimensions]:
            raise ValueError(f"{self.name} is built from {', '.join(self.dimensions)}; {missing[0]} is not given"
                             + (f", only {', '.join(dimensions)}" if dimensions else ""))
        return self.function(**self._arguments(dimensions, settings))

    @property
    def reads(self) -> Any:
        """Return the kind of `models.box_coding.BoxCoding` that a detector's boxes are read by; None where there are
        no boxes."""
        return None if self.coding is None else get_type_hints(self.coding)["return"]

    def coded(self, dimensions: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
        """Return how the boxes of a detector are read; the arguments are those of `build`."""
        assert self.coding is not None
        return self.coding(**self._arguments(dimensions, settings))

    def sized(self, dimensions: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
        """Return how large the model is that `build` would return, without building it; None where that is not
        known."""
        if self.closed_form is None:
            return None
        return self.closed_form(**{name: dimensions[name] for name in self.dimensions}, **self.settled(settings))

    def settled(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return all settings: those given, those that make this variant, and the defaults of others."""
        parameters = inspect.signature(self.function).parameters
        defaults = {name: parameter.default for name, parameter in parameters.items()
                    if parameter.default is not parameter.empty}
        return {**defaults, **self.fixed, **settings}

    def _arguments(self, dimensions: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**{name: dimensions[name] for name in self.dimensions}, **self.fixed, **settings}

    def settings(self) -> type[BaseModel]:
        """Return a pydantic model of the settings, read off the function's signature."""
        hints = get_type_hints(self.function, include_extras=True, localns={"keras": SimpleNamespace(Model=object)})
        fields: dict[str, Any] = {
            name: (hints[name], ... if parameter.default is parameter.empty else parameter.default)
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and name not in self.fixed}
        return create_model(f"{self.name} settings", __config__=ConfigDict(extra="forbid"), **fields)


_builders: dict[str, Builder] = {}


def register(name: str, *, task: str | tuple[str, ...] = "image_classification", paper: str,
             at: dict[str, Any] = IMAGENET, coding: Callable[..., Any] | None = None,
             closed_form: Callable[..., Any] | None = None,
             **fixed: Any) -> Callable[[Callable[..., keras.Model]], Callable[..., keras.Model]]:
    """Return a decorator that makes a function, with some of its settings fixed, known as a builder. A family has
    several.

    Args:
        name: as recipes call it.
        task: what its models can be trained for, one or several.
        paper: where it is described.
        at: the paper's dimensions.
        coding, closed_form: see `Builder`.

    Example:
        >>> @register("two_layers", task="row", paper="https://doi.org/10.1038/323533a0",
        ...           at={"columns": 4, "classes": 3})
        ... def two_layers(columns: int, classes: int, *, units: int = 64) -> keras.Model:
        ...     row = keras.Input((columns,), name="row")
        ...     hidden = keras.layers.Dense(units, "relu")(row)
        ...     return keras.Model(row, keras.layers.Dense(classes, name="logits")(hidden))
    """
    tasks = (task,) if isinstance(task, str) else task

    def add(function: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
        if name in _builders:
            raise ValueError(f"two builders are called {name}")
        _builders[name] = Builder(name, function.__name__, tasks, paper, at, function, fixed, coding, closed_form)
        return function

    return add


#: Functions that make the classes of layers of our own, which files can then be loaded with.
own_layers: list[Callable[[], type]] = []


def own_layer(make: Callable[[], type]) -> Callable[[], type]:
    """Add a function that makes the class of a layer to `own_layers`, so that Keras need not be there before; return
    it."""
    own_layers.append(make)
    return make


def builders() -> list[Builder]:
    """Return all registered builders, by name."""
    return [_builders[name] for name in sorted(_builders)]


def builder(name: str) -> Builder:
    """Return the builder called `name`. Raises ValueError that names the nearest one."""
    if name not in _builders:
        near = difflib.get_close_matches(name, _builders, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(sorted(_builders))}."
        raise ValueError(f"no model builder is called {name!r}. {hint}")
    return _builders[name]


def build(name: str, *, include_top: bool = True, **dimensions_and_settings: Any) -> keras.Model:
    """Return a Keras model with fresh weights.

    Args:
        name: a registered builder, see `builders`.
        include_top: with the classifier; without it, see `features`.
        dimensions_and_settings: the builder's dimensions, such as `input_shape` and `classes`, and settings.

    Returns:
        A functional model from the task's inputs to its outputs by name; one output alone may be bare, and is called
        after its layer. Of image classification: from raw pixels 0..255, (batch, height, width, channels), to logits
        (batch, classes).

    Raises:
        ValueError: the builder or a setting is not known, a dimension is missing, or a setting does not fit the
            dimensions.

    Example:
        >>> build("resnet8", input_shape=(32, 32, 3), classes=10).count_params()
        78666
    """
    chosen = builder(name)
    dimensions = {key: value for key, value in dimensions_and_settings.items() if key in chosen.dimensions}
    settings = {key: value for key, value in dimensions_and_settings.items() if key not in dimensions}
    try:
        checked = chosen.settings().model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"model {name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    model = chosen.build(dimensions, checked.model_dump())
    return model if include_top else features(model)


def features(model: keras.Model) -> keras.Model:
    """Return what a classifier sees: the model up to its last pooling or flattening, or, without one, up to its logits.
    It shares layers.

    Returns:
        A model to features (batch, height, width, channels), or (batch, units) where the classifier sees no image.
    """
    outputs = named_outputs(model)
    logits = outputs.get("logits", next(iter(outputs.values())))
    pooling = (keras.layers.GlobalAveragePooling2D, keras.layers.Flatten)
    operation = logits._keras_history.operation
    classified = None
    while not isinstance(operation, keras.layers.InputLayer):
        if getattr(operation, "weights", None) and classified is None:
            classified = operation.input  # what the logits are made of
        if classified is not None and isinstance(operation, pooling):
            return keras.Model(model.input, operation.input, name=model.name)
        if isinstance(operation.input, (list, tuple)):
            break
        operation = operation.input._keras_history.operation
    return keras.Model(model.input, classified, name=model.name)
