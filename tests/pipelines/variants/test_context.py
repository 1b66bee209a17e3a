"""What variants are made from: examples to calibrate with, trainings that go on, and a search that stops."""
from pathlib import Path

import numpy as np
import pytest

from export.conversion import convert
from export.delivery import recommend
from export.encodings import ENCODINGS
from export.keras_models import file as keras_file
from export.signature import DEFAULT, Tensor
from export.tflite import file as tflite_file
from pipelines.engine.journal import Journal
from pipelines.errors import UserError
from pipelines.features import Learnt
from pipelines.ingest.data import Data
from pipelines.ingest.index import Index
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.tasks.image_classification import ImageClassification
from pipelines.training.section import TrainSection
from pipelines.variants import auto
from pipelines.variants.auto import Auto, Candidate
from pipelines.variants.trained import Qat
from pipelines.variants.variant import Calibration, Learning, Variant, VariantContext, device_functions


@pytest.fixture(scope="module")
def data() -> Data:
    """The digits, 8 x 8 grey pixels."""
    task = ImageClassification()
    section = DataSection.model_validate({"source": "digits", "image": {"size": 8, "channels": 1}, "batch": 64})
    section.fill(task.features)
    return Data(section, task, build_index(section, task, 7), 7)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> tuple[Path, Path]:
    """A small model that has learnt a little, and its graph."""
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1), name="image")
    scaled = keras.layers.Rescaling(1 / 255)(inputs)
    hidden = keras.layers.Conv2D(8, 3, activation="relu")(scaled)
    outputs = keras.layers.Dense(10, name="logits")(keras.layers.Flatten()(hidden))
    model = keras.Model(inputs, outputs)
    images, targets = data.arrays("train", 600)
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images["image"].astype("float32"), targets["label"], epochs=8, verbose=0)
    folder = tmp_path_factory.mktemp("trained")
    keras_file.save(model, folder / "model.keras")
    convert.float_graph(model, device_functions(data), folder / "graph")
    return folder / "model.keras", folder / "graph"


@pytest.fixture
def context(data, trained, tmp_path) -> VariantContext:
    model, graph = trained
    folder = tmp_path / "work"
    folder.mkdir()
    return VariantContext(
        data=data, train=TrainSection(), model=model, graph=graph, folder=folder,
        calibration_section=Calibration(examples=40), journal=Journal(tmp_path / "journal.jsonl"))


def test_calibration_draws_training_inputs_by_the_seed_and_notes_their_digest(context, data):
    (name, inputs), = context.calibration()
    assert name == DEFAULT and inputs["image"].shape == (40, 8, 8, 1) and inputs["image"].dtype == np.uint8
    digest = context.details["calibration_digest"]
    np.testing.assert_array_equal(context.inputs()["image"], inputs["image"])
    assert context.details == {"calibration": 40, "calibration_digest": digest}
    everything, _ = data.arrays("train", data.index.splits["train"].examples)
    known = {image.tobytes() for image in everything["image"]}
    assert all(image.tobytes() in known for image in inputs["image"])
    context.calibration(Calibration(examples=41))
    assert context.details["calibration"] == 41 and context.details["calibration_digest"] != digest


def test_balanced_calibration_has_as_many_of_each_class(context, data):
    images, targets = data.arrays("train", data.index.splits["train"].examples)
    label_of = {image.tobytes(): label for image, label in zip(images["image"], targets["label"], strict=True)}
    drawn = context.inputs(Calibration(examples=50, balanced=True))["image"]
    assert np.bincount([label_of[image.tobytes()] for image in drawn]).tolist() == [5] * 10


def test_no_more_is_drawn_than_there_is(context, data):
    assert len(context.inputs(Calibration(examples=10**6))["image"]) == data.index.splits["train"].examples


def test_balanced_calibration_wants_a_class_per_example(context, data):
    pixels = {"label": Tensor(name="label", dtype="uint8", shape=(8, 8), role="mask")}
    dense = Data(data.section, data.task, data.index.model_copy(update={"targets": pixels}), data.seed)
    context.data = dense
    with pytest.raises(UserError, match="in image_classification an example has no class: leave balanced out"):
        context.calibration(Calibration(balanced=True))


@pytest.mark.parametrize(("shape", "names", "expected"), [
    ((), ["cat", "dog"], "target"), ((8, 8), ["sky", "road"], None), ((), [], None)])
def test_a_target_labels_examples_where_it_has_classes_and_is_a_single_number(shape, names, expected):
    target = Tensor(name="target", dtype="int64", shape=shape)
    index = Index(source="s", digest="", splits={}, inputs={}, targets={"target": target},
                  learnt={"target": Learnt(names=names)})
    assert index.class_target == expected


def test_blocks_of_weights_have_an_encoding_of_their_own_which_is_not_slow():
    assert Variant.read("int4_blocks").encoding == "int4_blocks" not in recommend.SLOW
    assert "activations quantized while running" in ENCODINGS["int4_blocks"].summary


@pytest.mark.parametrize("name", ["float32", "int8", "int16x8"])
def test_a_variant_is_written_whole_with_its_record(context, tmp_path, name):
    record = Variant.read(name).make(context, tmp_path / f"{name}.tflite")
    content = (tmp_path / f"{name}.tflite").read_bytes()
    assert (record.name, record.encoding, record.bytes) == (name, name, len(content))
    assert record.integer == (not tflite_file.float_tensors(content)) == (name != "float32")
    assert record.summary == ENCODINGS[name].summary and not list(tmp_path.glob(".part*"))


def test_a_variant_that_trains_goes_on_from_the_model_and_may_be_taught_by_it(context, tmp_path):
    record = Qat.model_validate({"epochs": 1, "distill": {"weight": 0.5}}).make(context, tmp_path / "qat.tflite")
    assert record.integer and record.details["calibration"] == 40
    evaluation = context.data.task.evaluate(
        auto.open_predictor(tmp_path / "qat.tflite"), context.data.batches("validation"), context.data.index)
    assert evaluation.metrics["accuracy"] > 0.8
    journal = (tmp_path / "journal.jsonl").read_text()
    assert '"qat.val_accuracy"' in journal


def test_a_training_names_outputs_by_the_task_where_the_model_lists_them(context):
    import keras
    import tf_keras

    for library in (keras, tf_keras):
        inputs = library.Input((8, 8, 1), name="image")
        outputs = library.layers.Dense(10, name="wrapped_logits")(library.layers.Flatten()(inputs))
        assert list(context._named(library.Model(inputs, outputs), library).output) == ["logits"]
        assert list(context._named(library.Model(inputs, [outputs]), library).output) == ["logits"]


def test_training_of_a_converted_file_is_refused_with_what_can_be_made(context, tmp_path):
    context.model = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match=r"needs the Keras model; of a \.tflite file there can be float32, float16"):
        context.load()
    with pytest.raises(ValueError, match="needs the Keras model"):
        Variant.read("qat").content(context)


def test_a_search_stops_at_the_first_candidate_within_the_limit(context):
    context.limits = {"auto": 0.9}
    context.details = {}
    content = Auto(rungs=["int8", "float16"]).content(context)
    assert [trial["rung"] for trial in context.details["rungs"]] == ["int8"]
    assert context.details["limit"] == 0.9 and context.details["skipped"] == {}
    assert context.details["summary"] == "int8: int8 as the converter makes it"
    assert not tflite_file.float_tensors(content)


def test_a_search_takes_the_last_candidate_where_none_is_within_the_limit(context, monkeypatch):
    """Candidates are made here and not by converters: these lose nothing, and the limit asks for more."""
    exact = context.exact()
    steps = []

    def made(function, written, made_for, step, *, what):
        steps.append(step)
        if step == "qat":
            raise UserError("no training here")
        return [Candidate(name=step, encoding="float32", content=exact, details={"kept": step})]

    monkeypatch.setattr(auto.workers, "isolated", made)
    context.limits = {"auto": -1.0}
    assert Auto(rungs=["int8", "qat", "float16"]).content(context) == exact
    assert steps == ["int8", "qat", "float16"]
    trials = context.details["rungs"]
    assert [(trial["rung"], trial["passed"]) for trial in trials] == [("int8", False), ("float16", False)]
    assert all(trial["drop"] == 0 and trial["latency_ms"] > 0 and trial["bytes"] == len(exact) for trial in trials)
    assert context.details["kept"] == "float16" and context.details["skipped"] == {"qat": "no training here"}


def test_the_better_steps_of_a_search_keep_accuracy_and_their_digest_after_an_interruption(context, data):
    drawn = []
    for _ in range(2):  # the second time everything is in the variant's folder
        context.details = {}
        candidates = auto.make_candidates(Auto().written(), context, "calibration")
        assert len(candidates) == 1 and candidates[0].encoding == "int8"
        drawn.append(candidates[0].details["calibration_digest"])
    assert drawn[0] == drawn[1] and {path.stem for path in context.folder.glob("*.tflite")} == {"calibrated", "better"}
    names = [candidate.name for candidate in auto.make_candidates(Auto().written(), context, "selective")]
    assert all(name.startswith("selective, ") and name.endswith("operators in float16") for name in names)


def test_learning_of_a_search_goes_to_its_training_steps(monkeypatch, context):
    asked = []

    def aware_content(context, model, learning, **more):
        asked.append((learning, more))
        return b""

    monkeypatch.setattr(auto, "aware_content", aware_content)
    written = Auto(learning=Learning(epochs=9, rate=0.5)).written()
    auto.make_candidates(written, context, "qat")
    auto.make_candidates(written, context, "qat_distilled")
    assert [(learning.epochs, learning.rate) for learning, _ in asked] == [(9, 0.5)] * 2
    assert [learning.distill is not None for learning, _ in asked] == [False, True]
    assert [more["calibration"] for _, more in asked] == [Calibration(examples=1000, balanced=True)] * 2


def test_operators_without_an_integer_form_stay_float_and_are_named(context, data, tmp_path):
    import keras

    from export.predictors import LiteRTPredictor

    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1), name="image")
    hidden = keras.layers.GroupNormalization(2)(keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(10, name="logits")(keras.layers.Flatten()(hidden)))
    context.graph = tmp_path / "graph"
    convert.float_graph(model, device_functions(data), context.graph)
    path = tmp_path / "int8.tflite"
    record = Variant.read("int8").make(context, path)
    kept = record.details["stays_float"]
    assert "NEG" in kept and "CONV_2D" not in kept and kept == tflite_file.float_operators(path.read_bytes())
    assert record.encoding == "mixed" and not record.integer and record.summary.endswith(f"; {', '.join(kept)} float")
    images, _ = data.arrays("test", 40)
    expected = np.asarray(model(images["image"].astype("float32")))
    answered = LiteRTPredictor(path).predict(images)["logits"]
    assert np.abs(answered - expected).max() < 0.1 * np.abs(expected).max()
    with pytest.raises(ValueError, match=r"all_integer: .*NEG.* have no integer form\. Leave the setting out"):
        Variant.read({"int8": {"all_integer": True}}).make(context, path)
