"""Small trained models that `benchmarks/press.py` presses and holds against the originals: those of MLPerf Tiny
(Banbury et al. 2021) beside the plain TensorFlow converter's files, and models of other inputs and outputs."""
from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.engine import workers

LITEPRESS = str(Path(sys.executable).with_name("litepress"))
#: Examples that a model learns on; the others are those that its files are measured on.
TRAINED = 1200
#: Rounds of training; the deepest network takes more of them until its answers are no ties.
EPOCHS, LONGER = 4, {"visual_wake_words": 16}


@dataclasses.dataclass(frozen=True)
class Pressed:
    """What came of a model.

    Args:
        largest: difference of the float32 file from the original, as a share of the largest number of an output.
        agreement, mean: of the int8 file, see `pipelines.tasks.equivalence`.
        plain_agreement, plain_mean: of the file that the plain converter makes with the same examples, where it does.
    """

    largest: float
    agreement: float
    mean: float
    plain_agreement: float | None = None
    plain_mean: float | None = None


def pressed(name: str, plain: bool = False) -> Pressed:
    """Write a model of `MODELS`, press it from the command line, and return what came of it.

    Args:
        plain: ask the plain TensorFlow converter as well.

    Raises:
        subprocess.CalledProcessError: it was not pressed; what it said is in stderr.
    """
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        workers.call(_write, name, folder, what=f"writing {name}")
        command = [LITEPRESS, "press", "model.h5", "--data", "data.npz", "--task", "equivalence", "--variants",
                   "float32,int8", "--targets", "litert", "--no-track", "--json", "r.json"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        of = {one["variant"]: one["metrics"] for one in json.loads((folder / "r.json").read_text())["artifacts"]}
        beside = workers.call(_plain, folder, what=f"the plain converter, {name}") if plain else {}
        return Pressed(of["float32"]["largest"], of["int8"]["agreement"], of["int8"]["mean"],
                       beside.get("agreement"), beside.get("mean"))


def _write(name: str, folder: Path) -> None:
    """Write a trained model as model.h5, and what it has not seen as data.npz."""
    import tf_keras

    tf_keras.utils.set_random_seed(5)
    model, inputs, targets = MODELS[name](tf_keras)
    model.fit({key: values[:TRAINED] for key, values in inputs.items()}, [one[:TRAINED] for one in targets],
              batch_size=32, epochs=LONGER.get(name, EPOCHS), verbose=0)
    model.save(folder / "model.h5")
    np.savez(folder / "data.npz", **{key: values[TRAINED:] for key, values in inputs.items()})


def _plain(folder: Path) -> dict[str, float]:
    """Return how far the plain converter's int8 file is from the original, calibrated with what `press` took."""
    import tensorflow as tf
    import tf_keras

    from export.predictors import LiteRTPredictor
    from pipelines.tasks.equivalence import INPUT, OUTPUT, Differences

    given = np.load(next((folder / "runs" / ".given").glob("*.npz")))
    model = tf_keras.models.load_model(folder / "model.h5", compile=False)
    names = [tensor.name.split(":")[0] for tensor in model.inputs]
    count = len(given[f"train_{INPUT}{names[0]}"])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        {name: given[f"train_{INPUT}{name}"][number:number + 1] for name in names} for number in range(count))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (folder / "plain.tflite").write_bytes(converter.convert())
    answered = LiteRTPredictor(folder / "plain.tflite").predict({name: given[f"test_{INPUT}{name}"] for name in names})
    true = {key.removeprefix(f"test_{OUTPUT}"): given[key] for key in given if key.startswith(f"test_{OUTPUT}")}
    if len(true) == 1:
        answered = dict(zip(true, answered.values(), strict=True))
    measure = Differences(list(true))
    measure.add(true, answered)
    return measure.result().metrics


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's digits in an order of chance, float32 (1797, 8, 8, 1) of 0..1, and their numbers."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    return (digits.images[order, :, :, None] / 16).astype("float32"), digits.target[order].astype("int32")


def _resized(height: int, width: int, channels: int) -> np.ndarray:
    import tensorflow as tf

    images = tf.image.resize(_digits()[0], (height, width)).numpy()
    return np.repeat(images, channels, axis=-1)


def _classifier(model: Any, library: Any) -> Any:
    model.compile(library.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    return model


def _separable(layers: Any, x: Any, filters: int, strides: int = 1) -> Any:
    for layer in (layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False),
                  layers.Conv2D(filters, 1, use_bias=False)):
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(layer(x)))
    return x


def keyword_spotting(library: Any) -> tuple[Any, dict[str, np.ndarray], list[np.ndarray]]:
    """DS-CNN of MLPerf Tiny's keyword spotting, 49 x 10 spectrograms; here they are digits."""
    layers = library.layers
    inputs = library.Input((49, 10, 1), name="spectrogram")
    x = layers.Conv2D(64, (10, 4), 2, padding="same", use_bias=False)(inputs)
    x = layers.Dropout(0.2)(layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x)))
    for _ in range(4):
        x = _separable(layers, x, 64)
    x = layers.Flatten()(layers.AveragePooling2D((25, 5))(layers.Dropout(0.4)(x)))
    model = library.Model(inputs, layers.Dense(12, activation="softmax")(x))
    return _classifier(model, library), {"spectrogram": _resized(49, 10, 1)}, [_digits()[1]]


def image_classification(library: Any) -> tuple[Any, dict[str, np.ndarray], list[np.ndarray]]:
    """ResNet-8 of MLPerf Tiny's image classification, 32 x 32 RGB."""
    layers = library.layers
    inputs = library.Input((32, 32, 3), name="image")

    def convolved(x: Any, filters: int, strides: int = 1, size: int = 3) -> Any:
        return layers.BatchNormalization(momentum=0.9)(layers.Conv2D(filters, size, strides, padding="same")(x))

    x = layers.ReLU()(convolved(inputs, 16))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = convolved(layers.ReLU()(convolved(x, filters, strides)), filters)
        x = layers.ReLU()(layers.Add()([y, x if strides == 1 else convolved(x, filters, strides, 1)]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    model = library.Model(inputs, layers.Dense(10, activation="softmax")(x))
    return _classifier(model, library), {"image": _resized(32, 32, 3)}, [_digits()[1]]


def visual_wake_words(library: Any) -> tuple[Any, dict[str, np.ndarray], list[np.ndarray]]:
    """MobileNet v1 of a quarter of the width, 96 x 96 RGB, two classes: here small digits and large ones."""
    layers = library.layers
    inputs = library.Input((96, 96, 3), name="image")
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    for filters, strides in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2),
                             (256, 1)):
        x = _separable(layers, x, filters, strides)
    x = layers.Flatten()(layers.AveragePooling2D(3)(x))
    model = library.Model(inputs, layers.Dense(2, activation="softmax")(x))
    return _classifier(model, library), {"image": _resized(96, 96, 3)}, [_digits()[1] // 5]


def anomaly_detection(library: Any) -> tuple[Any, dict[str, np.ndarray], list[np.ndarray]]:
    """The autoencoder of MLPerf Tiny's anomaly detection, of 640 numbers: here ten neighbours of 64 pixels."""
    layers = library.layers
    inputs = library.Input((640,), name="frames")
    x = inputs
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(layers.Dense(units)(x)))
    model = library.Model(inputs, layers.Dense(640)(x))
    model.compile(library.optimizers.Adam(2e-3), "mse")
    frames = np.repeat(_digits()[0].reshape(-1, 64), 10, axis=1)
    return model, {"frames": frames}, [frames]


def two_and_two(library: Any) -> tuple[Any, dict[str, np.ndarray], list[np.ndarray]]:
    """Numbers and tokens to classes and to a number."""
    layers = library.layers
    numbers, tokens = library.Input((64,), name="numbers"), library.Input((8,), dtype="int32", name="tokens")
    embedded = layers.Flatten()(layers.Embedding(17, 4)(tokens))
    x = layers.Dense(48, activation="relu")(layers.Concatenate()([numbers, embedded]))
    model = library.Model([numbers, tokens], [layers.Dense(10, activation="softmax", name="digit")(x),
                                              layers.Dense(1, name="ink")(x)])
    model.compile("adam", ["sparse_categorical_crossentropy", "mse"])
    flat, labels = _digits()[0].reshape(-1, 64), _digits()[1]
    tokens_of = (16 * flat[:, ::8]).astype("int32")
    return model, {"numbers": flat, "tokens": tokens_of}, [labels, flat.sum(axis=1, keepdims=True) / 10]


def regression(library: Any) -> tuple[Any, dict[str, np.ndarray], list[np.ndarray]]:
    """A number from a series."""
    layers = library.layers
    inputs = library.Input((64, 1), name="series")
    x = layers.GlobalAveragePooling1D()(layers.Conv1D(16, 5, activation="relu")(inputs))
    model = library.Model(inputs, layers.Dense(1)(x))
    model.compile("adam", "mse")
    flat = _digits()[0].reshape(-1, 64, 1)
    return model, {"series": flat}, [flat.sum(axis=1) / 10]


def many_labels(library: Any) -> tuple[Any, dict[str, np.ndarray], list[np.ndarray]]:
    """Sigmoids of four labels that may all hold."""
    layers = library.layers
    inputs = library.Input((8, 8, 1), name="image")
    x = layers.Flatten()(layers.Conv2D(16, 3, activation="relu")(inputs))
    model = library.Model(inputs, layers.Dense(4, activation="sigmoid")(x))
    model.compile("adam", "binary_crossentropy")
    labels = (_digits()[1][:, None] >> np.arange(4) & 1).astype("float32")
    return model, {"image": _digits()[0]}, [labels]


def tokens(library: Any) -> tuple[Any, dict[str, np.ndarray], list[np.ndarray]]:
    """Classes of sequences of tokens."""
    layers = library.layers
    inputs = library.Input((64,), dtype="int32", name="tokens")
    x = layers.Conv1D(32, 5, activation="relu")(layers.Embedding(17, 8)(inputs))
    model = library.Model(inputs, layers.Dense(10, activation="softmax")(layers.Flatten()(x)))
    return _classifier(model, library), {"tokens": (16 * _digits()[0].reshape(-1, 64)).astype("int32")}, [_digits()[1]]


#: Those of MLPerf Tiny.
TINY = ("keyword_spotting", "image_classification", "visual_wake_words", "anomaly_detection")
#: Maker of a model of a library, its inputs by name, and what it learns of them: (examples, …) each.
MODELS: dict[str, Callable[[Any], tuple[Any, dict[str, np.ndarray], list[np.ndarray]]]] = {
    one.__name__: one for one in (keyword_spotting, image_classification, visual_wake_words, anomaly_detection,
                                  two_and_two, regression, many_labels, tokens)}
