"""Bundles of small models that were never trained: an image classifier, and one of two inputs and a dense output."""
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from export.artifacts import Exported
from export.conversion import convert
from export.delivery import bundle
from export.delivery.samples import Sample
from export.keras_models import graph
from export.predictors import open_predictor
from export.signature import Arrays, Signature, Tensor
from export.targets import saved_model
from export.tflite import phone
from export.tflite.metadata import Description
from pipelines.features.image import Image

IMAGE = Tensor(name="image", dtype="uint8", shape=(32, 32, 3), role="image", meaning="raw pixels 0..255, RGB")
NUMBER = Tensor(name="depth", dtype="float32", shape=(), meaning="metres below the surface")
DENSE = Tensor(name="logits", dtype="float32", shape=(32, 32, 5), role="logits", meaning="one per class and pixel")
LOGITS = Tensor(name="logits", dtype="float32", shape=(3,), role="logits",
                meaning="one per class, in the order of labels.txt")


@dataclasses.dataclass
class Bundled:
    """A bundle and what went into it.

    Args:
        source: the folder of exported files.
        inputs: of the golden samples, (samples, ...).
        outputs: artifact name to output name to (samples, ...).
        samples: the same, one by one.
        model: of Keras.
    """

    folder: Path
    about: Description
    signature: Signature
    exported: list[Exported]
    source: Path
    inputs: Arrays
    outputs: dict[str, Arrays]
    samples: list[Sample]
    model: Any


def dense_model():
    """From an image and a number to a row of logits per pixel."""
    import keras

    keras.utils.set_random_seed(0)
    image, depth = keras.Input(IMAGE.shape, name="image"), keras.Input((), name="depth")
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    scale = keras.layers.Dense(8)(keras.layers.Reshape((1,))(depth))
    x = x + keras.layers.Reshape((1, 1, 8))(scale)
    return keras.Model({"image": image, "depth": depth}, {"logits": keras.layers.Conv2D(5, 1, name="logits")(x)})


def classifier():
    """From an image to three logits."""
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input(IMAGE.shape, name="image")
    x = keras.layers.Conv2D(8, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.Dense(3, name="logits")(keras.layers.GlobalAveragePooling2D()(x)))


def write_bundle(folder: Path, about: Description, model: Any, signature: Signature, count: int) -> Bundled:
    """Export a model as float32, int8 and SavedModel, ask each the samples, and write the bundle."""
    on_device = signature.model_copy(update={
        "inputs": tuple(tensor.model_copy(update={"dtype": "float32"}) for tensor in signature.inputs)})
    about = about.model_copy(update={"signature": signature})
    source = folder / "export"
    (source / "litert").mkdir(parents=True)
    inputs = signature.example(count)
    convert.float_graph(model, lambda plain: [graph.function(plain, on_device)], folder / "graph")
    exported = []
    for variant in ("float32", "int8"):
        calibration = [("serving_default", on_device.example(20))] if variant == "int8" else None
        content = phone.ready(convert.convert(folder / "graph", variant, calibration), about)
        path = f"litert/{variant}.tflite"
        (source / path).write_bytes(content)
        exported.append(Exported(variant=variant, target="litert", path=path, bytes=len(content), zipped=1))
    saved_model.export(model, source / "saved_model" / "1", [graph.function(model, signature)])
    exported.append(Exported(variant="float32", target="saved_model", path="saved_model/1", bytes=1, zipped=1))
    answers = {one.name: open_predictor(source / one.path).predict(inputs) for one in exported}
    golden = samples(about, inputs, answers)
    bundle.write(folder / "bundle", about=about, signature=signature, exported=exported, source=source,
                 samples=golden, card="A card.\n", recommended={"phone_cpu": "int8"})
    return Bundled(folder / "bundle", about, signature, exported, source, inputs, answers, golden, model)


def samples(about: Description, inputs: Arrays, outputs: dict[str, Arrays]) -> list[Sample]:
    """What the package stage makes of a task: images go as PNG files, and classes have names."""
    made = []
    for number, image in enumerate(inputs["image"]):
        own = {name: {output: values[number] for output, values in answers.items()}
               for name, answers in outputs.items()}
        targets, words = {}, {}
        if about.labels:
            targets = {"label": about.labels[0]}
            words = {name: {"class": about.labels[int(answers["logits"].argmax())]} for name, answers in own.items()}
        files = {"image": Image(size=image.shape[:2]).encode(image)}
        made.append(Sample({name: values[number] for name, values in inputs.items()}, files, targets, own, words))
    return made


@pytest.fixture(scope="session")
def dense(tmp_path_factory) -> Bundled:
    """The bundle of a model with two named inputs and a dense output."""
    about = Description(name="sea_floor", task="semantic_segmentation", version="1.0.0",
                        description="What the sea floor is covered with.")
    signature = Signature(inputs=(IMAGE, NUMBER), outputs=(DENSE,))
    return write_bundle(tmp_path_factory.mktemp("dense"), about, dense_model(), signature, 3)


@pytest.fixture(scope="session")
def classified(tmp_path_factory) -> Bundled:
    """The bundle of an image classifier."""
    about = Description(name="tiny", version="1.0.0", labels=["zero", "one", "two"])
    signature = Signature(inputs=(IMAGE,), outputs=(LOGITS,))
    return write_bundle(tmp_path_factory.mktemp("classified"), about, classifier(), signature, 4)
