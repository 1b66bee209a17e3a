"""Models, data and files as people have them, which `benchmarks/press.py` presses from the command line: what comes of
each is right, against the original's own answers, or one line."""
from __future__ import annotations

import dataclasses
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from press_models import LITEPRESS

from pipelines.engine import workers

#: Precision of numbers in float16, and of float32 sums in another order.
HALF, SINGLE = 2.0 ** -10, 1e-5
#: Largest difference of an integer file.
INTEGER = 0.1
MODEL, DATA, TRACE = "model", "data", "ran.txt"


@dataclasses.dataclass(frozen=True)
class Odd:
    """A model or data that are not as the tutorials have them.

    Args:
        write: writes them into a folder, and returns the arguments of `litepress press`. Where it writes inputs.npy and
            expected.npy, these are what the original answers to pictures.
        says: words of the output; where the exit code is 2, of its one line.
        within: largest difference of the float32 file from the original, as a share of its largest output.
    """

    write: Callable[[Path], list[str]]
    code: int = 0
    says: str = ""
    within: float = SINGLE


def tried(name: str) -> tuple[str, str, bool]:
    """Press one of `ODD`; return what came of it, what must, and whether it did."""
    odd = ODD[name]
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        arguments = workers.call(odd.write, folder, what=f"writing {name}")
        command = [LITEPRESS, "press", *arguments, "--no-track", "--out", "out", "--name", "odd"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        lines = done.stderr.strip().splitlines()
        if (folder / TRACE).exists():
            return "its code was run", "not run", False
        if odd.code:
            must = f"exit code {odd.code} and one line with {odd.says}"
            as_it_must = done.returncode == odd.code and len(lines) == 1 and odd.says in lines[0]
            return f"exit code {done.returncode}, {len(lines)} line", must, as_it_must
        if done.returncode or odd.says not in done.stdout:
            return f"exit code {done.returncode}: {' '.join(lines)[-200:]}", odd.says or "pressed", False
        if not (folder / "expected.npy").exists():
            return odd.says or "pressed", odd.says or "pressed", True
        error = workers.call(_difference, folder, "float32", what=f"asking the file of {name}")
        if (folder / "out" / "litert" / "int8.tflite").exists():
            rounded = workers.call(_difference, folder, "int8", what=f"asking the integer file of {name}")
            return (f"off by {error:.1e}, in integers {rounded:.1e}", f"<= {odd.within:.1e}, <= {INTEGER}",
                    error <= odd.within and rounded <= INTEGER)
        return f"off by {error:.1e}", f"<= {odd.within:.1e}", error <= odd.within


def _difference(folder: Path, variant: str) -> float:
    """Return how far a file's answers are from the original's, as a share of the largest."""
    from export.predictors import LiteRTPredictor

    expected = np.load(folder / "expected.npy").astype("float64")
    inputs = np.load(folder / "inputs.npy")
    (answered,) = LiteRTPredictor(folder / "out" / "litert" / f"{variant}.tflite").predict({"image": inputs}).values()
    if np.allclose(expected.sum(axis=-1), 1, atol=0.01):  # the original gives probabilities, its file logits
        answered = np.exp(answered - answered.max(axis=-1, keepdims=True))
        answered /= answered.sum(axis=-1, keepdims=True)
    return float(np.abs(answered - expected).max() / np.abs(expected).max())


def _written(folder: Path, model: Any, ending: str, *more: str, scale: tuple[float, float] = (1.0, 0.0)) -> list[str]:
    """Write a model of pictures, some of them, and what it answers; return the arguments that press it.

    Args:
        scale: factor and offset that the model wants pixels with.
    """
    pictures = np.random.default_rng(0).integers(0, 256, (60, *model.input_shape[1:])).astype("uint8")
    pictures[::2] //= 4
    np.save(folder / f"{DATA}.npy", pictures)
    np.save(folder / "inputs.npy", pictures[:8])
    np.save(folder / "expected.npy", model.predict(pictures[:8].astype("float32") * scale[0] + scale[1], verbose=0))
    model.save(folder / f"{MODEL}{ending}")
    return [f"{MODEL}{ending}", "--data", f"{DATA}.npy", "--variants", "float32", "--targets", "litert", *more]


def normalized_rows(folder: Path) -> list[str]:
    """Batch normalization along another axis than the channels."""
    import keras

    layers = keras.layers
    return _written(folder, keras.Sequential([
        keras.Input((20, 12, 1)), layers.Conv2D(6, 3, padding="same"), layers.BatchNormalization(axis=1), layers.ReLU(),
        layers.Flatten(), layers.Dense(3)]), ".keras", "--pixels", "0..255")


def softmax_inside(folder: Path) -> list[str]:
    """A Sequential model of Keras 2 of two others, with the softmax in the second, that wants -1..1."""
    import tf_keras

    layers = tf_keras.layers
    body = tf_keras.Sequential([layers.Input((24, 24, 3)), layers.Conv2D(8, 3, 2), layers.ReLU(6.0),
                                layers.GlobalAveragePooling2D()])
    head = tf_keras.Sequential([layers.Input((8,)), layers.Dense(3, activation="softmax", use_bias=False)])
    model = tf_keras.Sequential([body, head])
    model.build((None, 24, 24, 3))
    head.set_weights([50 * weight for weight in head.get_weights()])
    return _written(folder, model, ".h5", "--pixels", "-1..1", scale=(1 / 127.5, -1.0))


def half_precision(folder: Path) -> list[str]:
    """A model that was trained under mixed_float16."""
    import keras

    layers = keras.layers
    keras.mixed_precision.set_global_policy("mixed_float16")
    return _written(folder, keras.Sequential([
        keras.Input((24, 24, 3)), layers.Rescaling(1 / 255), layers.Conv2D(8, 3, activation="relu"),
        layers.GlobalAveragePooling2D(), layers.Dense(3), layers.Activation("softmax", dtype="float32")]), ".keras")


def tutorial_of_keras_2(folder: Path) -> list[str]:
    """Augmentation and a function of TensorFlow inside a model of Keras 2, with a slash in its layers' names."""
    import tf_keras

    layers = tf_keras.layers
    inputs = tf_keras.Input((32, 32, 3))
    x = tf_keras.applications.mobilenet_v2.preprocess_input(layers.RandomFlip("horizontal")(inputs))
    x = layers.BatchNormalization(name="Conv/BatchNorm")(layers.Conv2D(6, 3, name="expanded/Conv")(x))
    outputs = layers.Dense(3)(layers.GlobalAveragePooling2D()(tf_keras.activations.relu(x, max_value=6.0)))
    return _written(folder, tf_keras.Model(inputs, outputs), ".h5", "--pixels", "0..255")


def one_sigmoid(folder: Path) -> list[str]:
    """Two classes by one sigmoid, of which a file gives two logits."""
    import tf_keras

    layers = tf_keras.layers
    model = tf_keras.Sequential([layers.Input((16, 16, 3)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3),
                                 layers.Flatten(), layers.Dense(1, activation="sigmoid")])
    arguments = _written(folder, model, ".h5", "--pixels", "0..255")
    probability = np.load(folder / "expected.npy")
    np.save(folder / "expected.npy", np.concatenate([1 - probability, probability], axis=1))
    return arguments


def lambda_of_keras_2(folder: Path) -> list[str]:
    """A Lambda, whose code leaves a trace."""
    import tf_keras

    layers = tf_keras.layers
    code = eval(f"lambda x: (open({str(folder / TRACE)!r}, 'a').write('ran'), x * 2.0)[1]")
    arguments = _written(folder, tf_keras.Sequential([
        layers.Input((12, 12, 3)), layers.Lambda(code), layers.Flatten(), layers.Dense(3)]), ".h5")
    (folder / TRACE).unlink()
    return arguments


def both_ways(folder: Path) -> list[str]:
    """A bidirectional LSTM, whose loop TensorFlow's converter crashes on, in integers too."""
    import keras

    layers = keras.layers
    arguments = _written(folder, keras.Sequential([
        keras.Input((14, 10, 1)), layers.Rescaling(1 / 255), layers.Reshape((14, 10)),
        layers.Bidirectional(layers.LSTM(5)), layers.Dense(3)]), ".keras")
    return [*arguments, "--variants", "float32,int8"]


def frozen_graph(folder: Path) -> list[str]:
    """A graph of TensorFlow 1 with its weights inside."""
    import tensorflow as tf
    import tf_keras
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    layers = tf_keras.layers
    model = tf_keras.Sequential([layers.Input((12, 12, 3)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3),
                                 layers.Flatten(), layers.Dense(3)])
    arguments = _written(folder, model, ".h5")
    function = tf.function(lambda image: model(image)).get_concrete_function(
        tf.TensorSpec((None, 12, 12, 3), tf.float32, "image"))
    graph = convert_variables_to_constants_v2(function).graph.as_graph_def()
    (folder / f"{MODEL}.pb").write_bytes(graph.SerializeToString())
    return [f"{MODEL}.pb", *arguments[1:]]


def words_as_labels(folder: Path) -> list[str]:
    """Labels that are words."""
    import keras

    layers = keras.layers
    arguments = _written(folder, keras.Sequential([keras.Input((12, 12, 3)), layers.Flatten(), layers.Dense(3)]),
                         ".keras")
    pictures = np.load(folder / f"{DATA}.npy")
    words = np.array(["owl", "cat", "dog"])[np.arange(len(pictures)) % 3]
    np.savez(folder / "labelled.npz", x_train=pictures[:40], y_train=words[:40], x_test=pictures[40:],
             y_test=words[40:])
    arguments[2] = "labelled.npz"
    return arguments


def photos_of_a_mac(folder: Path) -> list[str]:
    """A folder of photos with what a Mac leaves beside each, and WebP among them."""
    import keras
    from PIL import Image

    layers = keras.layers
    arguments = _written(folder, keras.Sequential([
        keras.Input((20, 30, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)]), ".keras")
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        photos = folder / "photos" / name
        photos.mkdir(parents=True)
        for number in range(24):
            picture = Image.fromarray(generator.integers(0, 256, (20, 30, 3)).astype("uint8"))
            picture.save(photos / f"{number}.{'webp' if number % 2 else 'jpg'}")
            (photos / f"._{number}.jpg").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    arguments[2] = "photos"
    return arguments


ODD = {
    "batch normalization along the rows": Odd(normalized_rows),
    "the softmax inside an inner model, -1..1": Odd(softmax_inside),
    "trained under mixed_float16": Odd(half_precision, within=HALF),
    "Keras 2: RandomFlip, preprocess_input, names with a slash": Odd(tutorial_of_keras_2),
    "one sigmoid for two classes": Odd(one_sigmoid),
    "Keras 2: a Lambda": Odd(lambda_of_keras_2, 2, "--allow-code"),
    "a bidirectional LSTM in integers": Odd(both_ways),
    "a frozen graph of TensorFlow 1": Odd(frozen_graph),
    "labels that are words": Odd(words_as_labels),
    "a folder of photos from a Mac": Odd(photos_of_a_mac, says="34 train / 4 validation / 10 test, 2 classes, 0 "
                                         "unreadable")}
