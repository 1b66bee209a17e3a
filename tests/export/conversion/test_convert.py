"""What is exported, on the model that the small recipe trained, over its held-out test set."""
import hashlib
import json
import subprocess
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from export.artifacts import Exported
from export.benchmark import latency
from export.conversion import convert
from export.delivery import bundle
from export.keras_models import file as keras_file
from export.keras_models import graph
from export.measure.compare import compare, order_independent
from export.predictors import IMAGE, LOGITS, KerasPredictor, LiteRTPredictor, SavedModelPredictor, open_predictor
from export.targets import saved_model
from export.tflite import file as tflite_file
from export.tflite.metadata import Description
from pipelines.ingest import Index, Source, pictures, stream

VARIANTS = ("float32", "float16", "dynamic", "int8")
EIGHT = pictures.ImageSettings(size=8)


@pytest.fixture(scope="module")
def test_set(run):
    index = Index.model_validate_json((run / "ingest" / "index.json").read_bytes())
    return stream.arrays(stream.examples(Source.read("digits"), index, EIGHT, "test"))


@pytest.fixture(scope="module")
def reference(run, test_set):
    return KerasPredictor(run / "train" / "model.keras").predict({IMAGE: test_set[0]})[LOGITS]


def test_the_trained_model_has_learned(reference, test_set):
    assert (reference.argmax(axis=1) == test_set[1]).mean() > 0.8


@pytest.mark.parametrize(("variant", "tolerance"), [("float32", 1e-4), ("float16", 0.1), ("dynamic", 1.5), ("int8", 3.0)])
def test_every_variant_answers_like_the_trained_model(run, test_set, reference, variant, tolerance):
    logits = LiteRTPredictor(run / "export" / "litert" / f"{variant}.tflite").predict({IMAGE: test_set[0]})[LOGITS]
    comparison = compare(logits, reference)
    assert comparison.max_logit_error < tolerance
    assert comparison.top1_agreement > 0.95


def test_saved_model_answers_alike_from_pixels_from_files_and_from_examples(run, test_set, reference):
    images = test_set[0][:50]
    folder = run / "export" / "saved_model" / "1"
    assert compare(SavedModelPredictor(folder).predict({IMAGE: images})[LOGITS], reference[:50]).max_logit_error < 1e-4
    signatures = tf.saved_model.load(str(folder)).signatures
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images])
    from_files = signatures["serving_bytes"](image_bytes=encoded)
    np.testing.assert_allclose(from_files["logits"], reference[:50], atol=1e-4)
    np.testing.assert_allclose(from_files["scores"], tf.nn.softmax(reference[:50]), atol=1e-5)
    examples = [tf.train.Example(features=tf.train.Features(feature={
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[one]))})).SerializeToString() for one in encoded.numpy()]
    classified = signatures["classify"](inputs=tf.constant(examples))
    assert [int(row[0]) for row in classified["classes"].numpy()] == reference[:50].argmax(axis=1).tolist()
    assert (np.diff(classified["scores"].numpy(), axis=1) <= 0).all(), "best first"


def test_the_classify_signature_has_the_method_name_that_tf_serving_asks_for(run):
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel.FromString((run / "export" / "saved_model" / "1" / "saved_model.pb").read_bytes())
    assert content.meta_graphs[0].signature_def["classify"].method_name == graph.CLASSIFY_METHOD


def test_int8_is_integer_throughout_and_takes_raw_pixels(run):
    file = run / "export" / "litert" / "int8.tflite"
    assert not tflite_file.float_tensors(file.read_bytes())
    predictor = LiteRTPredictor(file)
    assert predictor.inputs[IMAGE]["dtype"] == np.uint8
    assert predictor.inputs[IMAGE]["quantization"][0] == pytest.approx(1, rel=0.01)
    assert predictor.outputs[LOGITS]["dtype"] == np.uint8, "which MediaPipe reads, and int8 it does not"


def test_float_files_are_told_from_integer_ones(run):
    assert tflite_file.float_tensors((run / "export" / "litert" / "dynamic.tflite").read_bytes())


def test_operators_are_counted(run):
    counts = tflite_file.operators((run / "export" / "litert" / "float32.tflite").read_bytes())
    assert counts == {"CONV_2D": 9, "ADD": 3, "MEAN": 1, "FULLY_CONNECTED": 1}


def test_calibration_pictures_are_asked_for(run, tmp_path):
    convert.float_graph(keras_file.load(run / "train" / "model.keras"), tmp_path / "graph")
    with pytest.raises(ValueError, match="needs calibration pictures"):
        convert.convert(tmp_path / "graph", "int8")


def test_writing_a_model_twice_gives_the_same_bytes(run, tmp_path):
    model = keras_file.load(run / "train" / "model.keras")
    for name in ("a", "b"):
        keras_file.save(model, tmp_path / f"{name}.keras")
        saved_model.export(model, tmp_path / name, labels=list("0123456789"), decode=lambda one: pictures.decode(one, EIGHT))
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    for file in ("variables/variables.data-00000-of-00001", "variables/variables.index"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


class Forgetful:
    """Answers the brightness of a picture, and a little of the one before: what a kept state does."""

    def __init__(self, leak):
        self.leak, self.state = leak, 0.0

    def predict(self, inputs):
        answers = []
        for picture in inputs["image"]:
            own = float(picture.mean())
            answers.append([own + self.leak * self.state, -own])
            self.state = own
        return {"logits": np.array(answers)}


def test_a_state_that_is_kept_between_calls_is_noticed():
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 1)).astype("uint8")
    for leak, expected in ((0.0, True), (0.01, False)):
        predictor = Forgetful(leak)
        assert order_independent(predictor, images, predictor.predict({IMAGE: images})[LOGITS]) is expected


def test_a_comparison_refuses_answers_that_are_none():
    with pytest.raises(ValueError, match="answers nan or infinity on 1 of 2 examples"):
        compare(np.array([[np.nan, 1], [1, 2]]), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="the artifact answers"):
        compare(np.zeros((2, 3)), np.zeros((2, 2)))


def test_a_comparison_is_its_definition():
    found = compare(np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[1.5, 2.0], [0.0, 1.0]]))
    assert (found.max_logit_error, found.mean_logit_error, found.top1_agreement) == (3.0, 4.5 / 4, 0.5)


def test_latency_is_what_was_waited():
    import time

    found = latency(lambda: time.sleep(0.002), runs=50, threads=1)
    assert 2 <= found.p50 < 4 and found.p50 <= found.p95
    assert (found.runs, found.threads) == (50, 1)


@pytest.mark.parametrize(("name", "content"), [("broken.tflite", b"not a flatbuffer at all"), ("broken.keras", b"no zip"), ("x.bin", b"")])
def test_a_file_that_is_no_model_is_refused_by_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        open_predictor(tmp_path / name)


def test_the_bundle_lists_what_it_holds(run, tmp_path):
    folder = run / "package" / "bundle"
    checked = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    listed = {line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    assert listed == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"SHA256SUMS", "manifest.json"}
    assert "SHA256SUMS" in {one["path"] for one in json.loads((folder / "manifest.json").read_text())["files"]}
    described = {one["path"]: one for one in json.loads((folder / "model.json").read_text())["models"]}
    assert set(described) == {f"litert/{name}.tflite" for name in VARIANTS} | {"saved_model/1"}
    assert described["litert/int8.tflite"]["inputs"][0]["dtype"] == "uint8"


def test_the_golden_samples_are_answered_as_the_bundle_says(run):
    folder = run / "package" / "bundle"
    samples = json.loads((folder / "samples" / "expected.json").read_text())
    assert len(samples) == 10
    for name in VARIANTS:
        predictor = LiteRTPredictor(folder / "litert" / f"{name}.tflite")
        for sample in samples:
            pixels = pictures.decode(tf.io.read_file(str(folder / "samples" / sample["file"])), EIGHT).numpy()
            np.testing.assert_allclose(predictor.predict({IMAGE: pixels[None]})[LOGITS][0], sample["expected"][name]["logits"], atol=2e-5)


def test_a_bundle_built_twice_has_the_same_bytes(run, tmp_path):
    exported = [Exported.model_validate(one) for one in json.loads((run / "export" / "exported.json").read_text())["artifacts"]]
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype("uint8")
    digests = []
    for name in ("a", "b"):
        folder = tmp_path / name / "bundle"
        bundle.write(folder, about=Description(name="tiny", version="1.0.0", labels=list("0123456789")), exported=exported,
                     source=run / "export", card="card", samples=[bundle.Sample(image, 3, {"keras": np.arange(10.0)})],
                     recommended={"phone_cpu": "int8"})
        digests.append(hashlib.sha256(bundle.zip_up(folder, "tiny").read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    with zipfile.ZipFile(next((tmp_path / "a").glob("*.zip"))) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
