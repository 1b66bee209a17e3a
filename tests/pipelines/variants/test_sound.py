"""A model of sound in two files, its front end and the network behind it: they answer as the model does."""
from pathlib import Path

import numpy as np
import pytest
import soundfile

import models
from export import ranges
from export.conversion import convert
from export.keras_models import file as keras_file
from export.predictors import open_predictor
from export.targets import tools
from export.tflite import file as tflite_file
from export.tflite import signatures
from export.tflite.metadata import Description
from pipelines.engine.journal import Journal
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.recipe.recipe import Recipe
from pipelines.targets.target import ExportContext, Target
from pipelines.tasks.task import Task
from pipelines.training.section import TrainSection
from pipelines.variants.variant import RANGES, Calibration, Variant, VariantContext, device_functions

FRONT = {"hop": 0.02, "mels": 20}
RATE = 8000


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Data:
    """Half a second of a low tone, a high one, and noise."""
    folder, generator = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    time = np.arange(RATE // 2) / RATE
    for number in range(30):
        loud = generator.uniform(0.1, 0.5)
        sounds = {"low": np.sin(2 * np.pi * generator.uniform(200, 600) * time),
                  "high": np.sin(2 * np.pi * generator.uniform(1500, 3500) * time),
                  "noise": generator.normal(size=len(time)) / 3}
        for name, samples in sounds.items():
            (folder / name).mkdir(exist_ok=True)
            heard = loud * samples + 0.003 * generator.normal(size=len(time))
            soundfile.write(folder / name / f"{number}.wav", np.clip(heard, -1, 1), RATE)
    task = Task.read("audio_classification")
    section = DataSection.model_validate({"source": {"audio_folder": str(folder)}, "batch": 16,
                                          "audio": {"seconds": 0.5, "rate": RATE}})
    section.fill(task.features)
    return Data(section, task, build_index(section, task, 7), 7)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    """A small keyword spotter that has learnt a little."""
    import keras

    keras.utils.set_random_seed(0)
    model = models.build("ds_cnn_audio", **data.task.dimensions(data.index), front=FRONT, filters=8, blocks_after=1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8  # so that a few steps are enough
    sounds, targets = data.arrays("train", data.index.splits["train"].examples)
    model.compile(keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(sounds["audio"], targets["label"], batch_size=8, epochs=8, verbose=0)
    folder = tmp_path_factory.mktemp("trained")
    keras_file.save(model, folder / "model.keras")
    convert.float_graph(model, device_functions(data), folder / "graph")
    return folder


@pytest.fixture
def made(data, trained, tmp_path):
    """Return a function that makes a variant; it gives the context of a target, with it alone."""
    def make(*written) -> ExportContext:
        records = {}
        for one in written:
            variant = Variant.read(one)
            context = VariantContext(
                data=data, train=TrainSection(), model=trained / "model.keras", graph=trained / "graph",
                folder=tmp_path / f"{variant.title}_work", calibration_section=Calibration(examples=40),
                journal=Journal(tmp_path / "journal.jsonl"))
            context.folder.mkdir()
            records[variant.title] = variant.make(context, tmp_path / f"{variant.title}.tflite")
        (tmp_path / "exported").mkdir()
        return ExportContext(
            model=trained / "model.keras", variants=records, files=tmp_path, about=Description(name="tones"), data=data,
            folder=tmp_path / "exported")
    return make


def held_out(data):
    return data.arrays("test", data.index.splits["test"].examples)


def test_two_files_answer_as_the_one_does(data, trained, made):
    context = made("int8", "split_front_end")
    one, two = Target.read("litert").export(context, [])
    folder = context.folder / two.path
    assert sorted(path.name for path in folder.iterdir()) == ["frontend.tflite", "network.tflite"]
    assert two.bytes == sum(path.stat().st_size for path in folder.iterdir()) == context.variants[two.variant].bytes
    assert not tflite_file.float_tensors((folder / "network.tflite").read_bytes())
    taken = signatures.main((folder / "network.tflite").read_bytes())
    assert taken.input.dtype == "int8" and taken.input.shape == (1, 24, 20)
    sounds, targets = held_out(data)
    joined, split = (open_predictor(context.folder / artifact.path).predict(sounds)["logits"]
                     for artifact in (one, two))
    known = open_predictor(trained / "model.keras").predict(sounds)["logits"]
    step = taken.outputs["logits"].scale
    np.testing.assert_array_equal(split.argmax(1), joined.argmax(1))
    assert np.abs(split - joined).max() <= step * 1.01
    assert np.abs(split - known).max() < 0.1 * np.abs(known).max()
    assert np.mean(split.argmax(1) == targets["label"]) > 0.9


@pytest.mark.parametrize("encode, most", [
    ("int16x8", 2e-2), pytest.param("float32", 1e-5, marks=pytest.mark.slow),
    pytest.param("float16", 1e-2, marks=pytest.mark.slow)])
def test_the_network_is_written_as_the_recipe_says(data, trained, made, encode, most):
    context = made({"split_front_end": encode})
    exported, = Target.read("litert").export(context, [])
    assert exported.encoding == encode and exported.summary.startswith("two files: front end in float32")
    sounds, _ = held_out(data)
    known = open_predictor(trained / "model.keras").predict(sounds)["logits"]
    answered = open_predictor(context.folder / exported.path).predict(sounds)["logits"]
    assert np.abs(answered - known).mean() < most * np.abs(known).mean()


@pytest.mark.skipif(bool(tools.missing("microcontroller")), reason="tflite-micro is not installed")
def test_microcontrollers_take_both_where_the_front_end_is_a_convolution(data, made):
    context = made({"split_front_end": {"form": "convolution"}})
    exported, = Target.read({"microcontroller": {"variants": ["split_front_end"]}}).export(context, ["split_front_end"])
    onto, = Target.read("litert").export(context, [])
    sounds, _ = held_out(data)
    few = {name: values[:4] for name, values in sounds.items()}
    here, there = (open_predictor(context.folder / one.path).predict(few) for one in (onto, exported))
    assert exported.estimates["arena_bytes"] > 0
    (expected,), (answered,) = here.values(), there.values()
    np.testing.assert_array_equal(answered.argmax(1), expected.argmax(1))
    assert np.abs(answered - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.skipif(bool(tools.missing("microcontroller")), reason="tflite-micro is not installed")
def test_microcontrollers_say_what_to_do_about_a_transform_that_they_lack(made):
    context = made("split_front_end")
    with pytest.raises(ValueError, match=r"RFFT2D.*form convolution"):
        Target.read({"microcontroller": {"variants": ["split_front_end"]}}).export(context, ["split_front_end"])


def recipe(task, **others):
    return {"name": "a", "task": task, **others}


def test_targets_that_take_one_file_say_so():
    variants = [Variant.read("int8"), Variant.read("split_front_end")]
    assert Target.read("onnx").chosen(variants) == ["int8"]
    with pytest.raises(ValueError, match="split_front_end is two files, and onnx takes one"):
        Target.read({"onnx": {"variants": ["split_front_end"]}}).chosen(variants)


def test_images_have_no_front_end(tmp_path):
    task = Task.read("image_classification")
    np.savez(tmp_path / "images.npz", images=np.zeros((40, 4, 4), "uint8"), labels=np.arange(40) % 2)
    section = DataSection.model_validate({"source": {"arrays": str(tmp_path / "images.npz")},
                                          "image": {"size": 4, "channels": 1}})
    section.fill(task.features)
    images = Data(section, task, build_index(section, task, 7), 7)
    context = VariantContext(
        data=images, train=TrainSection(), model=tmp_path / "model.keras", graph=tmp_path, folder=tmp_path,
        calibration_section=Calibration(), journal=Journal(tmp_path / "journal.jsonl"))
    with pytest.raises(ValueError, match="split_front_end is for models that take sound, and image_classification"):
        Variant.read("split_front_end").content(context)


def test_a_calibration_that_nothing_uses_is_refused():
    with pytest.raises(ValueError, match="calibration is for int8 and int16x8, and encode is float16"):
        Recipe.model_validate(recipe("audio_classification", data={"source": {"audio_folder": "a"}}, compress={
            "variants": [{"split_front_end": {"encode": "float16", "calibration": 20}}]}))


def test_ranges_of_sound_are_noted_with_its_integers(data, made):
    context = made("int8")
    (low,), (high,) = context.variants["int8"].details[RANGES]["audio"]
    sounds = data.arrays("train", data.index.splits["train"].examples)[0]["audio"]
    assert sounds.min() <= low < -0.3 and 0.3 < high <= sounds.max()
    louder = np.stack([0.9 * low * np.ones(4000), 1.1 * high * np.ones(4000)]).astype("float32")
    assert ranges.outside(context.variants["int8"].details[RANGES], {"audio": louder}).tolist() == [False, True]


@pytest.mark.slow
def test_training_with_rounding_leaves_the_front_end_as_it_is(data, trained, made):
    context = made({"qat": {"epochs": 1}}, "int8")
    sounds, targets = held_out(data)
    learnt, usual = (open_predictor(context.file(variant)) for variant in ("qat", "int8"))
    known = open_predictor(trained / "model.keras").predict(sounds)["logits"]
    answered = learnt.predict(sounds)["logits"]
    assert np.mean(answered.argmax(1) == targets["label"]) > 0.9
    assert np.abs(answered - known).mean() < 0.1 * np.abs(known).max(), "an epoch changes little"
    assert tflite_file.operators(context.file("qat").read_bytes()) == tflite_file.operators(
        context.file("int8").read_bytes())
    assert np.abs(usual.predict(sounds)["logits"] - known).mean() < 0.05 * np.abs(known).max()
    with pytest.raises(ValueError, match="layers that stay float are not for a model with inputs that stay"):
        Variant.read({"qat": {"only": ["logits"]}}).content(VariantContext(
            data=data, train=TrainSection(), model=trained / "model.keras", graph=trained / "graph",
            folder=context.files, calibration_section=Calibration(), journal=Journal(context.files / "journal.jsonl")))
