"""Metadata inside TFLite files: written by the published schema, read by MediaPipe's own reader."""
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from export.conversion import convert
from export.keras_models import graph
from export.predictors import LiteRTPredictor
from export.signature import DEFAULT, Signature, Tensor
from export.tflite import file as tflite_file
from export.tflite import metadata, phone, signatures
from export.tflite.metadata import Calibration, Description
from tests.export.delivery.conftest import DENSE, IMAGE, NUMBER, dense_model

MEDIAPIPE = Path(sys.prefix) / "mediapipe"
ABOUT = Description(name="tiny", description="Digits of 8 pixels.", version="1.2.3", author="A. Author",
                    license="Apache-2.0", labels=[f"digit {digit}" for digit in range(10)],
                    calibration=Calibration(slope=0.5, offset=-2.0))


@pytest.fixture(scope="module")
def files(run):
    return {path.stem: path.read_bytes() for path in (run / "compress").glob("*.tflite")}


def logits(predictor, images):
    return predictor.predict({"image": images})["logits"]


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_a_file_says_of_itself_what_was_put_in_and_answers_as_before(files, variant, tmp_path):
    content = phone.ready(files[variant], ABOUT)
    assert metadata.read(content) == ABOUT
    assert metadata.read(files[variant]) is None
    assert phone.ready(content, ABOUT) == phone.ready(content, ABOUT), "the same bytes each time"
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3)).astype("uint8")
    answers = []
    for name, own in (("before", files[variant]), ("after", content)):
        (tmp_path / name).write_bytes(own)
        answers.append(logits(LiteRTPredictor(tmp_path / name), images))
    np.testing.assert_array_equal(*answers)
    with zipfile.ZipFile(tmp_path / "after") as archive:
        assert archive.read("labels.txt").decode().splitlines() == ABOUT.labels
        kinds = {entry.compress_type for entry in archive.infolist()}
        assert kinds == {zipfile.ZIP_STORED}, "readers map them as they lie there"


def test_integer_scores_are_unsigned_with_the_same_meaning(files, tmp_path):
    signed = signatures.main(files["int8"]).output
    unsigned = signatures.main(phone.with_unsigned_output(files["int8"])).output
    assert (signed.dtype, unsigned.dtype) == ("int8", "uint8")
    assert (unsigned.scale, unsigned.zero) == (signed.scale, signed.zero + 128)
    assert phone.with_unsigned_output(files["float32"]) == files["float32"]


def test_labels_must_be_as_many_as_classes(files):
    with pytest.raises(ValueError, match="there are 9 labels, but the model has 10 classes"):
        phone.ready(files["float32"], ABOUT.model_copy(update={"labels": ABOUT.labels[:9]}))


def test_calibrated_scores_are_as_often_right_as_they_say():
    generator = np.random.default_rng(0)
    truth = np.arange(4000) % 2
    # so that the share of class 1 is 1 / (1 + exp(-2 * margin))
    margin = np.where(truth == 1, 1.0, -1.0) + generator.normal(size=4000)
    logits = np.stack([-5 * margin + 3, 5 * margin + 3], axis=1)  # ten times too sure, and shifted
    result = metadata.fit(logits, truth)
    assert result.slope == pytest.approx(2 / 5, rel=0.1) and result.offset == pytest.approx(-6 / 5, rel=0.15)
    scores = 1 / (1 + np.exp(-(result.slope * logits + result.offset)))
    is_true = truth[:, None] == np.arange(2)
    for low in np.arange(0.1, 0.9, 0.2):
        chosen = (scores >= low) & (scores < low + 0.2)
        assert scores[chosen].mean() == pytest.approx(is_true[chosen].mean(), abs=0.04)
    assert metadata.fit(-logits, truth) is None, "scores that rise where the answers are wrong say nothing"


def embedded(content: bytes) -> bytes:
    """Return the metadata's flatbuffer in a file."""
    model = tflite_file.read(content)
    entry = next(one for one in model.metadata if one.name == b"TFLITE_METADATA")
    return bytes(model.buffers[entry.buffer].data)


def inputs_of(content: bytes) -> list:
    """Return the input tensors of the main graph, in its order."""
    main = tflite_file.read(content).subgraphs[0]
    return [main.tensors[index] for index in main.inputs]


def mediapipe(script: str, *arguments: object) -> str:
    """Return what a script prints in a process that has MediaPipe."""
    environment = {**os.environ, "PYTHONPATH": str(MEDIAPIPE)}
    done = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True,
                          env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


CLASSIFY = """
import json, sys
import mediapipe
import numpy
import PIL.Image
from mediapipe.tasks.python import BaseOptions, vision
def rgb(path):
    pixels = numpy.asarray(PIL.Image.open(path).convert("RGB"))
    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
bundle, path = sys.argv[1:]
samples = json.load(open(f"{bundle}/samples/expected.json"))
options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=path), max_results=3)
with vision.ImageClassifier.create_from_options(options) as classifier:
    for sample in samples:
        found = classifier.classify(rgb(f"{bundle}/samples/{sample['file']}")).classifications[0].categories
        print(json.dumps([found[0].category_name, found[0].score]))
"""
READ = """
import json, sys
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
found = schema.ModelMetadataT.InitFromPackedBuf(bytes.fromhex(sys.argv[1]), 0)
graph = found.subgraphMetadata[0]
taken, given = graph.inputTensorMetadata[0], graph.outputTensorMetadata[0]
unit, image = taken.processUnits[0].options, taken.content.contentProperties
print(json.dumps({"name": found.name.decode(), "version": found.version.decode(), "license": found.license.decode(),
    "mean": list(map(float, unit.mean)), "std": list(map(float, unit.std)),
    "size": [image.defaultSize.width, image.defaultSize.height],
    "color": image.colorSpace, "files": [one.name.decode() for one in given.associatedFiles],
    "types": [one.type for one in given.associatedFiles], "input": taken.name.decode(), "output": given.name.decode()}))
"""
READ_ALL = """
import json, sys
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
graph = schema.ModelMetadataT.InitFromPackedBuf(bytes.fromhex(sys.argv[1]), 0).subgraphMetadata[0]
def described(tensors):
    return [[one.name.decode(), one.content.contentPropertiesType, one.description.decode(),
             len(one.processUnits or [])] for one in tensors]
print(json.dumps([described(graph.inputTensorMetadata), described(graph.outputTensorMetadata)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not MEDIAPIPE.is_dir(), reason="MediaPipe is not here; make .venv/.mediapipe brings it")
def test_mediapipes_own_schema_reads_every_field(files):
    result = json.loads(mediapipe(READ, embedded(phone.ready(files["int8"], ABOUT)).hex()))
    assert result == {"name": "tiny", "version": "1.2.3", "license": "Apache-2.0", "mean": [0.0], "std": [1.0],
                     "size": [8, 8], "color": 1, "files": ["labels.txt", "score_calibration.txt"], "types": [2, 4],
                     "input": "image", "output": "logits"}


@pytest.mark.slow
@pytest.mark.skipif(not MEDIAPIPE.is_dir(), reason="MediaPipe is not here; make .venv/.mediapipe brings it")
@pytest.mark.parametrize("variant", ["float32", "float16", "dynamic", "int8"])
def test_mediapipe_opens_the_bundle_and_gives_the_same_class_on_every_sample(run, variant):
    bundle = run / "package" / "bundle"
    expected = json.loads((bundle / "samples" / "expected.json").read_bytes())
    printed = mediapipe(CLASSIFY, bundle, bundle / "litert" / f"{variant}.tflite")
    answers = [json.loads(line) for line in printed.splitlines()]
    assert [name for name, _ in answers] == [one["expected"][variant]["class"] for one in expected]
    assert all(0 <= score <= 1 for _, score in answers)


@pytest.mark.parametrize("integer", [False, True])
def test_a_model_of_grey_images_takes_rgb_and_answers_alike(tmp_path, integer):
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(4, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)))
    signature = Signature(inputs=(Tensor(name="image", dtype="float32", shape=(8, 8, 1), role="image"),),
                          outputs=(Tensor(name="logits", dtype="float32", shape=(10,), role="logits"),))
    convert.float_graph(model, lambda plain: [graph.function(plain, signature)], tmp_path / "graph")
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1)).astype("uint8")
    grey = convert.convert(tmp_path / "graph", *(("int8", [(DEFAULT, {"image": images})]) if integer else ("float32",)))
    (tmp_path / "grey.tflite").write_bytes(grey)
    (tmp_path / "rgb.tflite").write_bytes(phone.ready(grey, ABOUT))
    one, other = (LiteRTPredictor(tmp_path / f"{name}.tflite") for name in ("grey", "rgb"))
    assert [own.signatures[DEFAULT].inputs[0].shape for own in (one, other)] == [(8, 8, 1), (8, 8, 3)]
    np.testing.assert_allclose(logits(other, images), logits(one, images), atol=1e-5)
    colours = np.random.default_rng(1).integers(0, 256, (30, 8, 8, 3)).astype("uint8")
    averaged = np.round(colours.mean(axis=-1, keepdims=True)).astype("uint8")
    step = 0.02 if not integer else 3 * signatures.main(grey).output.scale
    np.testing.assert_allclose(logits(other, colours), logits(one, averaged), atol=step)
    assert phone.ready(grey, ABOUT, rgb=False) != phone.ready(grey, ABOUT)
    values = signature.model_copy(update={"inputs": (signature.inputs[0].model_copy(update={"role": "values"}),)})
    spectrogram = phone.ready(grey, ABOUT.model_copy(update={"signature": values}))
    assert signatures.main(spectrogram).input.shape == (1, 8, 8, 1), "what is not an image has no colours"


@pytest.fixture(scope="module")
def dense_file(tmp_path_factory):
    """An integer file of an image and a number, with a row of logits per pixel."""
    folder = tmp_path_factory.mktemp("dense")
    signature = Signature(inputs=(IMAGE.model_copy(update={"dtype": "float32"}), NUMBER), outputs=(DENSE,))
    convert.float_graph(dense_model(), lambda plain: [graph.function(plain, signature)], folder / "graph")
    return convert.convert(folder / "graph", "int8", [(DEFAULT, signature.example(8))])


def about_dense(labels):
    return Description(name="sea_floor", task="semantic_segmentation", version="1.0.0", labels=labels,
                       calibration=ABOUT.calibration, signature=Signature(inputs=(IMAGE, NUMBER), outputs=(DENSE,)))


@pytest.mark.parametrize("labels", [[], ["sand", "rock", "coral", "weed", "wreck"]])
def test_several_inputs_and_a_dense_output_are_described(dense_file, labels):
    content = phone.ready(dense_file, about_dense(labels))
    result = metadata.read(content)
    assert (result.name, result.labels) == ("sea_floor", labels)
    assert (result.calibration is not None) == bool(labels), "without labels there is nothing to calibrate"
    file = signatures.main(content)
    assert file.inputs["image"].shape == (1, 32, 32, 3) and file.output.dtype == "uint8"
    data = embedded(content)
    assert all(meaning in data for meaning in (
        b"metres below the surface", b"raw pixels 0..255, RGB", b"one per class and pixel"))
    with pytest.raises(ValueError, match="there are 2 labels, but the model has 5 classes"):
        phone.ready(dense_file, about_dense(["a", "b"]))


def test_labels_need_an_output_that_they_are_of(files):
    values = Signature(inputs=(Tensor(name="image", dtype="float32", shape=(8, 8, 3), role="image"),),
                       outputs=(Tensor(name="logits", dtype="float32", shape=(10,), meaning="tomorrow's hours"),))
    content = phone.ready(files["float32"], ABOUT.model_copy(update={"signature": values, "labels": ["a"]}))
    assert metadata.read(content).labels == [] and b"tomorrow's hours" in embedded(content)


def test_damaged_metadata_are_told(files):
    content = phone.ready(files["float32"], ABOUT)
    with pytest.raises(ValueError, match="damaged metadata"):
        metadata.read(content[:-10])


@pytest.mark.slow
@pytest.mark.skipif(not MEDIAPIPE.is_dir(), reason="MediaPipe is not here; make .venv/.mediapipe brings it")
def test_mediapipes_own_schema_reads_every_input(dense_file):
    content = phone.ready(dense_file, about_dense([]))
    inputs, outputs = json.loads(mediapipe(READ_ALL, embedded(content).hex()))
    order = [tensor.name.decode() for tensor in inputs_of(content)]
    kinds = {"image": ["image", 2, "raw pixels 0..255, RGB", 1], "depth": ["depth", 1, "metres below the surface", 0]}
    assert inputs == [kinds["image" if "image" in name else "depth"] for name in order]
    assert outputs == [["logits", 1, "one per class and pixel", 0]]
