"""Integer files as phone frameworks hand bytes to them, whatever the brightest pixel of calibration was."""
import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from export.conversion import convert
from export.keras_models import graph
from export.predictors import LiteRTPredictor
from export.signature import Signature, Tensor
from export.tflite import file, metadata, phone, signatures

#: As a task's signature for devices has it.
IMAGE = Tensor(name="image", dtype="float32", shape=(16, 16, 1), role="image", meaning="raw pixels 0..255, grey")
LOGITS = Tensor(name="logits", dtype="float32", shape=(3,), role="logits")
ABOUT = metadata.Description(name="dim", version="1.0.0", labels=["a", "b", "c"],
                             signature=Signature(inputs=(IMAGE,), outputs=(LOGITS,)))


@pytest.fixture(scope="module")
def dim(tmp_path_factory):
    """Return an int8 file that was calibrated on images whose brightest pixel is 200."""
    folder = tmp_path_factory.mktemp("dim")
    keras.utils.set_random_seed(0)
    image = keras.Input(IMAGE.shape, name="image")
    x = keras.layers.Conv2D(4, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(keras.layers.GlobalAveragePooling2D()(x)))
    convert.float_graph(model, lambda plain: [graph.function(plain, ABOUT.signature)], folder)
    pixels = np.random.default_rng(0).integers(0, 201, (20, *IMAGE.shape)).astype("float32")
    return convert.convert(folder, "int8", [("serving_default", {"image": pixels})])


def answered(content, path, pixels):
    path.write_bytes(content)
    return LiteRTPredictor(path).predict({"image": pixels})["logits"]


@pytest.mark.parametrize("rgb", [False, True])
def test_bytes_of_images_stand_for_themselves(dim, tmp_path, rgb):
    assert signatures.main(dim).inputs["image"].scale == pytest.approx(200 / 255, abs=0.01)
    ready = phone.ready(dim, ABOUT, rgb)
    taken = signatures.main(ready).inputs["image"]
    assert taken.stores_values and taken.shape[-1] == (3 if rgb else 1)
    pixels = np.random.default_rng(1).integers(0, 256, (8, *IMAGE.shape)).astype("uint8")
    answers = answered(ready, tmp_path / "ready.tflite", pixels)
    np.testing.assert_array_equal(answers, answered(dim, tmp_path / "dim.tflite", pixels))
    handed = Interpreter(model_content=ready)
    handed.allocate_tensors()
    (given,), (got,) = handed.get_input_details(), handed.get_output_details()
    scale, zero = got["quantization"]
    for image, answer in zip(pixels, answers, strict=True):
        handed.set_tensor(given["index"], np.repeat(image[None], taken.shape[-1], axis=-1))
        handed.invoke()
        np.testing.assert_allclose((handed.get_tensor(got["index"])[0].astype(int) - zero) * scale, answer, atol=1e-6)


@pytest.mark.parametrize(("scale", "zero"), [(1 / 255, 0), (1 / 127.5, 128)])
def test_images_of_other_numbers_keep_their_scale(dim, scale, zero):
    model = file.read(dim)
    stored = model.subgraphs[0].tensors[signatures.main(dim).inputs["image"].index].quantization
    stored.scale, stored.zeroPoint = np.array([scale], "float32"), np.array([zero], "int64")
    content = file.write(model)
    assert phone.with_raw_pixels(content, ABOUT) == content


def test_what_is_no_image_keeps_its_scale(dim):
    values = IMAGE.model_copy(update={"role": "values"})
    about = ABOUT.model_copy(update={"signature": Signature(inputs=(values,), outputs=(LOGITS,))})
    assert phone.with_raw_pixels(dim, about) == dim


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    """Return an int8 file of two signatures, from noise to a picture, and from an image to another, and its
    calibration."""
    folder = tmp_path_factory.mktemp("generator")
    keras.utils.set_random_seed(0)
    taken, image = keras.Input((6,), name="noise"), keras.Input(IMAGE.shape, name="image")
    first = keras.layers.Dense(64, "sigmoid", kernel_initializer="he_normal")(taken)
    first = keras.layers.Rescaling(255.0)(keras.layers.Reshape((8, 8, 1))(first))
    second = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(keras.layers.Rescaling(1 / 255)(image))
    second = keras.layers.Rescaling(200.0)(second)
    both = keras.Model({"noise": taken, "image": image}, {"generated": first, "returned": second})
    functions = [
        graph.function(keras.Model({name: value}, {made: output}), Signature(name=called, inputs=(Tensor(
            name=name, dtype="float32", shape=shape),), outputs=(Tensor(name=made, dtype="float32", shape=sides),)))
        for called, name, value, made, output, shape, sides in (
            ("serving_default", "noise", taken, "generated", first, (6,), (8, 8, 1)),
            ("back", "image", image, "returned", second, IMAGE.shape, IMAGE.shape))]
    convert.float_graph(both, lambda plain: functions, folder)
    random = np.random.default_rng(0)
    calibration = {"serving_default": {"noise": random.normal(size=(50, 6)).astype("float32")},
                   "back": {"image": random.integers(0, 256, (20, *IMAGE.shape)).astype("float32")}}
    return convert.convert(folder, "int8", list(calibration.items())), calibration


def test_pictures_are_the_bytes_of_their_pixels_in_every_signature(generator, tmp_path):
    content, calibration = generator
    ready = phone.ready(content, metadata.Description(name="small", task="image_generation"), rgb=False)
    for name, one in (("before", content), ("after", ready)):
        (tmp_path / f"{name}.tflite").write_bytes(one)
    before, after = (LiteRTPredictor(tmp_path / f"{name}.tflite") for name in ("before", "after"))
    for called, inputs in calibration.items():
        (info,) = after.tensors[called].outputs.values()
        assert info.stores_values and info.dtype == "uint8"
        (given,), (expected,) = (one.predict(inputs, called).values() for one in (after, before))
        assert len(np.unique(given)) > 20
        assert np.abs(given - np.clip(np.round(expected), 0, 255)).max() <= 1
    assert phone.with_raw_pictures(ready) == ready
