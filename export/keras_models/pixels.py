"""The range of pixels that a model of images learnt on."""
from __future__ import annotations

from typing import Any, Literal

from etils import epy

from export.keras_models import bridge

with epy.lazy_imports():
    import keras
    import numpy as np

Pixels = Literal["0..255", "0..1", "-1..1"]
#: What raw pixels are multiplied with, and what is added, to give each of the ranges that models are trained on.
SCALING: dict[str, tuple[float, float]] = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}
#: Variances of the first batch normalization's input against what it learnt: beyond this factor they are not of one
#: kind of input.
FAR = 30.0


def wrong_range(model: keras.Model, pixels: Pixels, images: np.ndarray, labels: np.ndarray | None = None) -> str:
    """Return why a model seems to have been trained on pixels of another range than it is given; "" where it does not.

    The statistics that its first batch normalization learnt are held against those of the images, and, where there are
    labels, its answers against them.

    Args:
        model: as it was made, see `imported.classifier`.
        pixels: the range that it is to be given.
        images: raw pixels, uint8 (examples, height, width, channels).
        labels: of the same images.
    """
    values = {name: images.astype("float32") * scale + offset for name, (scale, offset) in SCALING.items()}
    right: dict[str, float] = {}
    if labels is not None:
        right = {name: float((_classes(model, scaled) == labels).mean()) for name, scaled in values.items()}
        best = max(right, key=lambda name: right[name])
        chance = np.unique(labels, return_counts=True)[1].max() / len(labels)
        if right[best] > max(right[pixels], chance) + 0.2:
            return (f"the model seems to have learnt on pixels {best}, not {pixels}: it answers {right[pixels]:.0%} of "
                    f"{len(images)} images correctly on {pixels}, and {right[best]:.0%} on {best}")
    norm = _first_norm(model)
    if norm is None:
        return ""
    distance = {name: _distance(norm, _seen(model, norm, scaled)) for name, scaled in values.items()}
    best = min(distance, key=lambda name: distance[name])
    if distance[pixels] <= max(FAR, FAR / 3 * distance[best]):
        return ""
    return (f"the model seems to have learnt on pixels {best}, not {pixels}: what its layer {norm.name} sees varies "
            f"{distance[pixels]:,.0f} times as much or as little as in its training, and {distance[best]:.1f} times on "
            f"{best}")


def _classes(model: keras.Model, values: np.ndarray) -> np.ndarray:
    """Return the class that a model's only output answers, in a dict or bare; of one unit, whether it is above half."""
    (output,) = keras.tree.flatten(model(values, training=False))
    answers = np.asarray(output)
    if answers.shape[-1] > 1:
        return answers.argmax(axis=-1)
    half = 0.5 if answers.min() >= 0 and answers.max() <= 1 else 0.0
    return (answers[..., 0] > half).astype(int)


class _Found(Exception):
    """Carries what a layer was called with out of a model."""

    def __init__(self, values: Any):
        super().__init__()
        self.values = values


def _first_norm(model: Any) -> Any:
    """Return the batch normalization that is asked first, in a model inside too; None where there is none."""
    for operation in bridge.keras_graph(model).operations:
        inner = _first_norm(operation) if isinstance(operation, keras.Model) else operation
        if isinstance(inner, keras.layers.BatchNormalization):
            return inner
    return None


def _seen(model: Any, norm: Any, values: np.ndarray) -> np.ndarray:
    """Return what a batch normalization anywhere in a model is given when it is asked."""
    def played(network: Any, inputs: Any) -> Any:
        return bridge.keras_graph(network)._run_through_graph(keras.tree.flatten(inputs), operation_fn=watched)

    def watched(operation: Any) -> Any:
        if operation is norm:
            return stop
        if isinstance(operation, keras.Model):
            return lambda inputs, **settings: played(operation, inputs)
        return operation

    def stop(inputs: Any, **settings: Any) -> Any:
        raise _Found(inputs)

    try:
        played(model, [keras.ops.convert_to_tensor(values)])
    except _Found as found:
        return np.asarray(found.values)
    raise AssertionError(f"{norm.name} is not part of {model.name}")


def _distance(norm: Any, seen: np.ndarray) -> float:
    """Return by which factor the variances of what a batch normalization sees differ from those it learnt, in the
    middle of its channels."""
    axis = norm.axis if isinstance(norm.axis, int) else norm.axis[0]
    channels = np.moveaxis(seen, axis, -1)
    variance = channels.reshape(-1, channels.shape[-1]).var(axis=0)
    learnt = np.asarray(norm.moving_variance)
    return float(np.exp(np.median(np.abs(np.log((variance + 1e-6) / (learnt + 1e-6))))))
