"""Models that were made elsewhere, as Keras 3 models from raw pixels to logits."""
from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal

from etils import epy

from export.keras_models import bridge
from export.keras_models import file as keras_file

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf
    import tf_keras

#: The output to take of a SavedModel that gives several.
LOGITS = "logits"
Pixels = Literal["0..255", "0..1", "-1..1"]
#: What raw pixels are multiplied with, and what is added, to give each of the ranges that models are trained on.
SCALING: dict[str, tuple[float, float]] = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}
#: Variances of the first batch normalization's input against what it learnt: beyond this factor they are not of one kind of input.
FAR = 30.0


def is_keras(path: Path) -> bool:
    """Whether a file or folder holds a Keras model, of either library, and not a graph alone."""
    return path.suffix in (".keras", ".h5", ".hdf5") or (path / "keras_metadata.pb").exists()


def load(path: Path) -> keras.Model:
    """The Keras 3 model in a .keras file, an .h5 file of Keras 2 or 3, or a SavedModel folder that Keras 2 wrote.

    Raises:
        ValueError: it cannot be read, holds no weights, needs code that is not registered, or cannot cross to Keras 3.
    """
    if not path.exists():
        raise ValueError(f"there is no model {path}")
    if path.suffix == ".keras":
        model = keras_file.load(path)
    elif path.is_dir():
        model = _from_tf_keras(path)
    else:
        _check_h5(path)
        try:
            model = keras.models.load_model(path, compile=False)
        except Exception:  # Keras 3 reads some files of Keras 2; the others need their own library
            model = _from_tf_keras(path)
    if not model.built or not model.weights:
        raise ValueError(f"{path} holds a model without weights: save it after it was trained")
    return model


def _from_tf_keras(path: Path) -> keras.Model:
    try:
        loaded = tf_keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a Keras model: {keras_file.why_unreadable(error)}") from error
    if isinstance(loaded, tf_keras.Sequential) and not loaded.built:
        raise ValueError(f"{path} holds a Sequential model that does not know its input: build it, or call it once, before it is saved")
    return bridge.to_keras(loaded)


def _check_h5(path: Path) -> None:
    import h5py

    try:
        with h5py.File(path) as file:
            whole, weights = "model_config" in file.attrs, "layer_names" in file.attrs or "layers" in file
    except OSError as error:
        raise ValueError(f"{path} is a damaged .h5 file, or none ({_first_line(error)})") from error
    if not whole:
        raise ValueError(f"{path} holds {'weights without their model' if weights else 'no model'}: save the whole model, "
                         "model.save(\"model.keras\")")


def classifier(model: keras.Model, pixels: Pixels) -> keras.Model:
    """A model from raw pixels (batch, height, width, channels) to logits (batch, classes).

    Args:
        model: of one picture of a known size, to one number per class: logits, or their softmax, which is taken off.
        pixels: the range that the model was trained on.

    Raises:
        ValueError: the model is not of that kind.
    """
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    if not hasattr(model, "_run_through_graph") or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(f"{model.name} ({type(model).__name__}) must be a functional or Sequential model of one picture and one output")
    shape, outputs = model.inputs[0].shape, model.outputs[0].shape
    if len(shape) != 4 or None in shape[1:] or shape[-1] not in (1, 3):
        raise ValueError(f"{model.name} takes {_shown(shape)}; it must be pictures of a known size, (batch, height, width, 1 or 3 "
                         "channels)")
    if len(outputs) != 2 or outputs[-1] < 2:
        raise ValueError(f"{model.name} gives {_shown(outputs)}; it must be (batch, classes), with at least two classes")
    last = model.outputs[0]._keras_history.operation

    @functools.cache
    def replaced(operation: Any) -> Any:
        if operation is not last:
            return operation
        if type(operation).__name__ == "Softmax":
            return lambda x, **settings: x
        if getattr(getattr(operation, "activation", None), "__name__", "") == "softmax":
            linear = type(operation).from_config({**operation.get_config(), "activation": "linear"})
            linear.build(operation.input.shape)
            linear.set_weights(operation.get_weights())
            return linear
        return operation

    scale, offset = SCALING[pixels]
    image = keras.Input(shape[1:], name="image")
    x = image if (scale, offset) == (1.0, 0.0) else keras.layers.Rescaling(scale, offset, name="pixels")(image)
    return keras.Model(image, model._run_through_graph(x, operation_fn=replaced), name=model.name)


def wrong_range(model: keras.Model, pixels: Pixels, images: np.ndarray, labels: np.ndarray | None = None) -> str:
    """Why a model seems to have been trained on pixels of another range than it is given; empty where it does not.

    The statistics that its first batch normalization learnt are held against those of the pictures, and, where there are labels, its
    answers against them.

    Args:
        model: as it was made, see `classifier`.
        pixels: the range that it is to be given.
        images: raw pixels, uint8 (examples, height, width, channels).
        labels: of the same pictures.
    """
    norm = next((layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)), None)
    given = {name: images.astype("float32") * scale + offset for name, (scale, offset) in SCALING.items()}
    right: dict[str, float] = {}
    if labels is not None:
        right = {name: float((np.asarray(model(values, training=False)).argmax(axis=1) == labels).mean()) for name, values in given.items()}
        best = max(right, key=lambda name: right[name])
        if right[best] > right[pixels] + 0.2:
            return (f"the model seems to have learnt on pixels {best}, not {pixels}: it answers {right[pixels]:.0%} of {len(images)} "
                    f"pictures correctly on {pixels}, and {right[best]:.0%} on {best}")
    if norm is not None:
        probe = keras.Model(model.inputs, norm.input)
        distance = {name: _distance(norm, np.asarray(probe(values, training=False))) for name, values in given.items()}
        best = max(right, key=lambda name: right[name]) if right else min(distance, key=lambda name: distance[name])
        if distance[pixels] > max(FAR, FAR / 3 * distance[best]):
            return (f"the model seems to have learnt on pixels {best}, not {pixels}: what its layer {norm.name} sees varies "
                    f"{distance[pixels]:,.0f} times as much or as little as in its training, and {distance[best]:.1f} times on {best}")
    return ""


def _distance(norm: Any, seen: np.ndarray) -> float:
    """By which factor the variances of what a batch normalization sees differ from those it learnt, in the middle of its channels."""
    variance = seen.reshape(-1, seen.shape[-1]).var(axis=0)
    learnt = np.asarray(norm.moving_variance)
    return float(np.exp(np.median(np.abs(np.log((variance + 1e-6) / (learnt + 1e-6))))))


def _shown(shape: Any) -> str:
    return "(" + ", ".join("batch" if not place else "?" if size is None else str(size) for place, size in enumerate(shape)) + ")"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def to_tflite(folder: Path) -> bytes:
    """A SavedModel that no Keras wrote as a float32 TFLite file of one picture at a time. Raises ValueError."""
    try:
        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures["serving_default"]
    except (OSError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder} is no SavedModel with the signature serving_default: {_first_line(error)}") from error
    specifications = list(signature.structured_input_signature[1].items())
    outputs = list(signature.structured_outputs)
    if len(specifications) != 1 or (len(outputs) != 1 and LOGITS not in outputs):
        raise ValueError(f"{folder} must take one picture and give one output, or several of which one is called {LOGITS}; it takes "
                         f"{', '.join(name for name, _ in specifications)} and gives {', '.join(signature.structured_outputs)}")
    (name, specification), output = specifications[0], LOGITS if LOGITS in outputs else outputs[0]
    shape = specification.shape.as_list()
    if len(shape) != 4 or None in shape[1:]:
        raise ValueError(f"{folder} takes {_shown(shape)}; it must be pictures of a known size, (batch, height, width, channels)")
    traced = tf.function(lambda image: {LOGITS: signature(**{name: tf.cast(image, specification.dtype)})[output]}, input_signature=[
        tf.TensorSpec((1, *shape[1:]), tf.float32, "image")])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], loaded)
    return converter.convert()
