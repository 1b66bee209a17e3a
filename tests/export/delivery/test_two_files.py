"""A bundle whose model is two files: what it says of them, and the drivers that ask one after the other."""
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import tree_sitter_kotlin
import tree_sitter_swift

from export.artifacts import Exported
from export.conversion import convert
from export.delivery import bundle, golden, two_files
from export.keras_models import graph
from export.keras_models.split import split
from export.predictors import open_predictor
from export.signature import Signature, Tensor
from export.tflite.metadata import Description
from models.front_end import NAME, as_sequence
from tests.export.delivery.test_snippets import parsed

RATE, LABELS = 8000, ["high", "low"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A bundle of a small model, its Keras model, and what it says of itself."""
    import keras

    inputs = keras.Input((RATE // 4,), name="audio")
    seen = as_sequence(inputs, {"hop": 0.05, "mels": 10}, RATE)
    logits = keras.layers.Dense(2, name="logits")
    model = keras.Model(inputs, {"logits": logits(keras.layers.GlobalAveragePooling1D()(seen))})
    higher = np.linspace(-1, 1, 10)
    logits.set_weights([np.stack([higher, -higher], 1), np.zeros(2)])
    signature = Signature(
        inputs=(Tensor(name="audio", dtype="float32", shape=(RATE // 4,), role="waveform", meaning="samples"),),
        outputs=(Tensor(name="logits", dtype="float32", shape=(2,), role="logits"),))
    source = tmp_path_factory.mktemp("exported")
    folder = source / "litert" / "split_front_end"
    folder.mkdir(parents=True)
    parts = split(model, NAME)
    for name, one, own in (("frontend", parts.front, parts.of_front(signature)),
                           ("network", parts.network, parts.of_network(signature))):
        written = source.parent / f"graph_{source.name}_{name}"
        convert.float_graph(one, lambda changed, own=own: [graph.function(changed, own)], written)
        (folder / f"{name}.tflite").write_bytes(convert.convert(written, "float32"))
    exported = [Exported(variant="split_front_end", target="litert", path="litert/split_front_end", bytes=1, zipped=1)]
    about = Description(name="two_tones", task="audio_classification", version="1.0.0", labels=LABELS, rate=RATE,
                        signature=signature)
    bundle.write(source / "bundle", about=about, signature=signature, exported=exported, source=source, samples=[],
                 card="", recommended={})
    return source / "bundle", model, about


def test_a_bundle_says_what_goes_into_each_file_and_out(packed):
    folder, _, _ = packed
    described, = json.loads((folder / "model.json").read_text())["models"]
    front, network = described["front_end"], described["network"]
    assert described["rate"] == RATE and front["path"] == "litert/split_front_end/frontend.tflite"
    assert front["inputs"][0] == {"name": "audio", "dtype": "float32", "shape": [1, 2000], "meaning": "samples"}
    assert front["outputs"][0]["shape"] == network["inputs"][0]["shape"] == [1, 5, 10]
    assert front["outputs"][0]["meaning"] == network["inputs"][0]["meaning"] == two_files.MEANING
    assert network["outputs"][0]["name"] == "logits"


def test_the_driver_in_python_says_of_a_recording_what_the_model_does(packed, tmp_path):
    folder, model, _ = packed
    time = np.arange(RATE // 4) / RATE
    sounds = {f"{hertz}.wav": 0.4 * np.sin(2 * np.pi * hertz * time) for hertz in (150, 900, 3500)}
    expected = {}
    for name, samples in sounds.items():
        soundfile.write(tmp_path / name, samples, RATE)
        heard, _ = soundfile.read(tmp_path / name, dtype="float32")
        expected[name] = model(heard[None])["logits"].numpy()[0]
        answered = open_predictor(folder / "litert" / "split_front_end").predict({"audio": heard[None]})["logits"][0]
        assert np.abs(answered - expected[name]).max() < 1e-4
    assert len({values.argmax() for values in expected.values()}) == 2, "the sounds tell the model's answers apart"
    driver = folder / "code" / "python" / two_files.DRIVER
    done = subprocess.run([sys.executable, driver, *sounds], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{name}: {LABELS[values.argmax()]}" for name, values in expected.items()]
    soundfile.write(tmp_path / "other.wav", np.zeros(100), 16000)
    refused = subprocess.run([sys.executable, driver, "other.wav"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode and "16000 samples a second, 1 channels, 16 bits" in refused.stderr


def test_kotlin_and_swift_have_a_class_for_each_file_and_a_driver(packed):
    code = packed[0] / "code"
    for ending, language, folder in (("kt", tree_sitter_kotlin, "kotlin"), ("swift", tree_sitter_swift, "swift")):
        written = {path.name: path for path in (code / folder).iterdir()}
        assert set(written) == {f"TwoTones{name}.{ending}" for name in ("FrontEndModel", "NetworkModel", "Driver")}
        assert all(parsed(path, language.language()) == [] for path in written.values())
        assert "litert/split_front_end/ of this bundle" in written[f"TwoTonesNetworkModel.{ending}"].read_text()
        driver = written[f"TwoTonesDriver.{ending}"].read_text()
        assert "TwoTonesFrontEndModel" in driver and "TwoTonesNetworkModel" in driver and "audio" in driver


def test_golden_samples_allow_what_the_network_rounds(packed):
    folder = packed[0] / "litert" / "split_front_end"
    assert golden.allowance(folder, {"logits": np.full((1, 2), 2.0)})["logits"] < 0.2


def test_what_is_not_of_one_model_is_refused(packed, tmp_path):
    folder = packed[0] / "litert" / "split_front_end"
    for name in ("frontend", "network"):
        (tmp_path / f"{name}.tflite").write_bytes((folder / "network.tflite").read_bytes())
    with pytest.raises(ValueError, match=r"gives \(batch, 2\), and the network takes \(batch, 5, 10\)"):
        open_predictor(tmp_path)
