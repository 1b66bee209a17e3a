"""MediaPipe's AudioClassifier opens files of sound, and says what they answer."""
import json

import keras
import numpy as np
import pytest

import models
from export.conversion import convert, exact, front, int8
from export.keras_models import graph
from export.predictors import LiteRTPredictor
from export.signature import DEFAULT, Signature, Tensor
from export.tflite import metadata, phone
from export.tflite.metadata import Calibration, Description
from export.tflite.trace import Trace
from models.front_end import NAME
from tests.export.tflite.test_metadata import MEDIAPIPE, embedded, mediapipe

RATE, SAMPLES, LABELS = 16_000, 8000, ["yes", "no", "up"]
AUDIO = Tensor(name="audio", dtype="float32", shape=(SAMPLES,), role="waveform", meaning="samples at 16000 Hz")
LOGITS = Tensor(name="logits", dtype="float32", shape=(len(LABELS),), role="logits")
ABOUT = Description(name="words", task="audio_classification", labels=LABELS, rate=RATE,
                    calibration=Calibration(slope=1.5, offset=-0.5),
                    signature=Signature(inputs=(AUDIO,), outputs=(LOGITS,)))
READ = """
import json, sys
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
graph = schema.ModelMetadataT.InitFromPackedBuf(bytes.fromhex(sys.argv[1]), 0).subgraphMetadata[0]
content = graph.inputTensorMetadata[0].content
sound = content.contentProperties
print(json.dumps([content.contentPropertiesType, sound.sampleRate, sound.channels]))
"""
CLASSIFY = """
import json, sys
import mediapipe, numpy
from mediapipe.tasks.python import BaseOptions, audio
from mediapipe.tasks.python.components.containers import AudioData
path, sounds = sys.argv[1:]
options = audio.AudioClassifierOptions(base_options=BaseOptions(model_asset_path=path))
with audio.AudioClassifier.create_from_options(options) as classifier:
    for sound in numpy.load(sounds):
        said = classifier.classify(AudioData.create_from_array(sound, 16000))[0].classifications[0].categories
        print(json.dumps({one.category_name: one.score for one in said}))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return encoding to a file of fewer bits with its front end in float32, and the sounds it was calibrated on."""
    keras.utils.set_random_seed(0)
    model = models.build("ds_cnn_audio", samples=SAMPLES, rate=RATE, classes=len(LABELS), filters=16, blocks_after=1)
    folder = tmp_path_factory.mktemp("words") / "graph"
    convert.float_graph(model, lambda written: [graph.function(written, ABOUT.signature)], folder)
    sounds = 0.1 * np.random.default_rng(0).normal(size=(6, SAMPLES)).astype("float32")
    plain = convert.convert(folder, "float32")
    calibrated = int8.calibrate(folder, [(DEFAULT, {"audio": sounds})])
    coarse = {"int8": int8.quantize(calibrated, keep_float=front.named(Trace(calibrated), [NAME])),
              "dynamic": convert.convert(folder, "dynamic")}
    return {"float32": plain} | {name: exact.with_exact(one, plain, [NAME]) for name, one in coarse.items()}, sounds


def test_a_file_of_sound_says_its_rate(files):
    content = phone.ready(files[0]["float32"], ABOUT)
    assert metadata.read(content).labels == LABELS
    assert embedded(content) != embedded(phone.ready(files[0]["float32"], ABOUT.model_copy(update={"rate": 8000})))


@pytest.mark.slow
@pytest.mark.skipif(not MEDIAPIPE.is_dir(), reason="MediaPipe is not here; make .venv/.mediapipe brings it")
def test_mediapipes_own_schema_reads_rate_and_channels(files):
    data = embedded(phone.ready(files[0]["int8"], ABOUT))
    assert json.loads(mediapipe(READ, data.hex())) == [4, RATE, 1]


@pytest.mark.slow
@pytest.mark.skipif(not MEDIAPIPE.is_dir(), reason="MediaPipe is not here; make .venv/.mediapipe brings it")
@pytest.mark.parametrize("encoding", ["float32", "dynamic", "int8"])
def test_mediapipe_gives_the_files_own_scores(files, encoding, tmp_path):
    contents, sounds = files
    path = tmp_path / "words.tflite"
    path.write_bytes(phone.ready(contents[encoding], ABOUT))
    np.save(tmp_path / "sounds.npy", sounds)
    printed = mediapipe(CLASSIFY, path, tmp_path / "sounds.npy").splitlines()
    said = [[json.loads(line)[name] for name in LABELS] for line in printed]
    logits = LiteRTPredictor(path).predict({"audio": sounds})["logits"]
    np.testing.assert_allclose(said, 1 / (1 + np.exp(0.5 - 1.5 * logits)), atol=1e-4)
