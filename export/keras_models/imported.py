"""Models that were made elsewhere, as Keras 3 models from raw pixels to logits."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from etils import epy

from export.errors import first_line
from export.keras_models import bridge
from export.keras_models import file as keras_file
from export.keras_models.rebuild import linear, replayed
from export.signature import shown

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf
    import tf_keras

Pixels = Literal["0..255", "0..1", "-1..1"]
#: What raw pixels are multiplied with, and what is added, to give each of the ranges that models are trained on.
SCALING: dict[str, tuple[float, float]] = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}
#: Variances of the first batch normalization's input against what it learnt: beyond this factor they are not of one
#: kind of input.
FAR = 30.0


def is_keras(path: Path) -> bool:
    """Return whether a file or folder holds a Keras model, of either library, and not a graph alone."""
    return path.suffix in (".keras", ".h5", ".hdf5") or (path / "keras_metadata.pb").exists()


def load(path: Path) -> keras.Model:
    """Return the Keras 3 model in a .keras file, in an .h5 file of Keras 2 or 3, or in a SavedModel folder of Keras 2.

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
        raise ValueError(f"{path} holds a Sequential model that does not know its input: build it, or call it once, "
                         "before it is saved")
    return bridge.to_keras(loaded)


def _check_h5(path: Path) -> None:
    import h5py

    try:
        with h5py.File(path) as file:
            whole, weights = "model_config" in file.attrs, "layer_names" in file.attrs or "layers" in file
    except OSError as error:
        raise ValueError(f"{path} is a damaged .h5 file, or none ({first_line(error)})") from error
    if not whole:
        content = "weights without their model" if weights else "no model"
        raise ValueError(f"{path} holds {content}: save the whole model, model.save(\"model.keras\")")


def classifier(model: keras.Model, pixels: Pixels, *, dense: bool = False) -> keras.Model:
    """Return a model from `image`, raw pixels (batch, height, width, channels), to `logits` (batch, classes), or of a
    dense one (batch, height, width, classes).

    The output is bare where the operation that gives it is called logits, else a dict of that name.

    Args:
        model: of one image of a known size, to one number per class: logits, or their softmax, which is taken off.
        pixels: the range that the model was trained on.
        dense: it gives these numbers for each pixel.

    Raises:
        ValueError: the model is not of that kind.
    """
    network = _checked(model, dense)
    last = network.outputs[0]._keras_history.operation

    def without_softmax(operation: Any) -> Any:
        if operation is not last:
            return operation
        if type(operation).__name__ == "Softmax":
            return lambda x, **settings: x
        if getattr(getattr(operation, "activation", None), "__name__", "") == "softmax":
            return linear(operation)
        return operation

    scale, offset = SCALING[pixels]
    image = keras.Input(network.inputs[0].shape[1:], name="image")
    x = image if (scale, offset) == (1.0, 0.0) else keras.layers.Rescaling(scale, offset, name="pixels")(image)
    (logits,) = keras.tree.flatten(replayed(network, [x], without_softmax))
    is_named = logits._keras_history.operation.name == "logits"
    return keras.Model(image, logits if is_named else {"logits": logits}, name=model.name)


def _checked(model: keras.Model, dense: bool) -> keras.Model:
    """Return the functional model that a classifier of images is. Raises ValueError where it is something else."""
    is_graph = isinstance(model, keras.Sequential) or hasattr(model, "_run_through_graph")
    if not is_graph or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(f"{model.name} ({type(model).__name__}) must be a functional or Sequential model of one "
                         "image and one output")
    shape, outputs = model.inputs[0].shape, model.outputs[0].shape
    if len(shape) != 4 or None in shape[1:] or shape[-1] not in (1, 3):
        raise ValueError(f"{model.name} takes {shown(shape)}; it must be images of a known size, (batch, height, "
                         "width, 1 or 3 channels)")
    if len(outputs) != (4 if dense else 2) or outputs[-1] < 2:
        expected = "(batch, height, width, classes)" if dense else "(batch, classes)"
        raise ValueError(f"{model.name} gives {shown(outputs)}; it must be {expected}, with at least two classes")
    return bridge.keras_graph(model)


def wrong_range(model: keras.Model, pixels: Pixels, images: np.ndarray, labels: np.ndarray | None = None) -> str:
    """Return why a model seems to have been trained on pixels of another range than it is given; "" where it does not.

    The statistics that its first batch normalization learnt are held against those of the images, and, where there are
    labels, its answers against them.

    Args:
        model: as it was made, see `classifier`.
        pixels: the range that it is to be given.
        images: raw pixels, uint8 (examples, height, width, channels).
        labels: of the same images.
    """
    values = {name: images.astype("float32") * scale + offset for name, (scale, offset) in SCALING.items()}
    right: dict[str, float] = {}
    if labels is not None:
        right = {name: float((_answers(model, scaled).argmax(axis=1) == labels).mean())
                 for name, scaled in values.items()}
        best = max(right, key=lambda name: right[name])
        if right[best] > right[pixels] + 0.2:
            return (f"the model seems to have learnt on pixels {best}, not {pixels}: it answers {right[pixels]:.0%} of "
                    f"{len(images)} images correctly on {pixels}, and {right[best]:.0%} on {best}")
    norm = next((layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)), None)
    if norm is None:
        return ""
    probe = keras.Model(model.inputs, norm.input)
    distance = {name: _distance(norm, np.asarray(probe([scaled], training=False))) for name, scaled in values.items()}
    best = max(right, key=lambda name: right[name]) if right else min(distance, key=lambda name: distance[name])
    if distance[pixels] <= max(FAR, FAR / 3 * distance[best]):
        return ""
    return (f"the model seems to have learnt on pixels {best}, not {pixels}: what its layer {norm.name} sees varies "
            f"{distance[pixels]:,.0f} times as much or as little as in its training, and {distance[best]:.1f} times on "
            f"{best}")


def _answers(model: keras.Model, values: np.ndarray) -> np.ndarray:
    """Return the only output of a model, whether it is in a dict or bare."""
    (output,) = keras.tree.flatten(model(values, training=False))
    return np.asarray(output)


def _distance(norm: Any, seen: np.ndarray) -> float:
    """Return by which factor the variances of what a batch normalization sees differ from those it learnt, in the
    middle of its channels."""
    variance = seen.reshape(-1, seen.shape[-1]).var(axis=0)
    learnt = np.asarray(norm.moving_variance)
    return float(np.exp(np.median(np.abs(np.log((variance + 1e-6) / (learnt + 1e-6))))))


def to_tflite(folder: Path) -> bytes:
    """Return a SavedModel that Keras did not write as a float32 TFLite file from one `image` to `logits`.

    Raises:
        ValueError: it cannot be read, or takes and gives something else.
    """
    try:
        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures["serving_default"]
    except (OSError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder} is not a SavedModel with the signature serving_default: "
                         f"{first_line(error)}") from error
    name, specification, output = _image_and_output(signature, folder)

    def answered(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": signature(**{name: tf.cast(image, specification.dtype)})[output]}

    image = tf.TensorSpec((1, *specification.shape[1:]), tf.float32, "image")
    traced = tf.function(answered, input_signature=[image]).get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([traced], loaded).convert()


def _image_and_output(signature: Any, folder: Path) -> tuple[str, tf.TensorSpec, str]:
    """Return the name and specification of the image that a signature takes, and the name of its logits. Raises
    ValueError."""
    inputs = list(signature.structured_input_signature[1].items())
    outputs = list(signature.structured_outputs)
    if len(inputs) != 1 or (len(outputs) != 1 and "logits" not in outputs):
        names = ", ".join(name for name, _ in inputs)
        raise ValueError(f"{folder} must take one image and give one output, or several of which one is called "
                         f"logits; it takes {names} and gives {', '.join(outputs)}")
    name, specification = inputs[0]
    shape = specification.shape.as_list()
    if len(shape) != 4 or None in shape[1:]:
        raise ValueError(f"{folder} takes {shown(shape)}; it must be images of a known size, (batch, height, width, "
                         "channels)")
    return name, specification, "logits" if "logits" in outputs else outputs[0]
