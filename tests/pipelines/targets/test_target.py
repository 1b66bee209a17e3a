"""What targets share: which variants they take, what they say of bytes, and when scores are calibrated."""
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from export.conversion import convert
from export.keras_models import file as keras_file
from export.keras_models import graph
from export.signature import Tensor
from export.tflite import metadata
from export.tflite.metadata import Description
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.targets import runtimes
from pipelines.targets.devices import check_memory
from pipelines.targets.target import ExportContext, FromVariants, Target, fresh, sizes
from pipelines.tasks.image_classification import ImageClassification
from pipelines.variants.record import VariantRecord, zipped_size
from pipelines.variants.variant import Variant, device_functions


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Data, Path, VariantRecord]:
    """The digits, a folder with a model of them that has learnt, and its float32 variant."""
    import keras

    task = ImageClassification()
    section = DataSection.model_validate({"source": "digits", "image": {"size": 8, "channels": 1}, "batch": 64})
    section.fill(task.features)
    data = Data(section, task, build_index(section, task, 7), 7)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1), name="image")
    model = keras.Model(inputs, keras.layers.Dense(10, name="logits")(keras.layers.Flatten()(inputs)))
    images, targets = data.arrays("train", 600)
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images["image"].astype("float32"), targets["label"], epochs=5, verbose=0)
    folder = tmp_path_factory.mktemp("made")
    keras_file.save(model, folder / "model.keras")
    convert.float_graph(model, device_functions(data), folder / "graph")
    content = convert.convert(folder / "graph", "float32")
    (folder / "float32.tflite").write_bytes(content)
    return data, folder, VariantRecord(name="float32", encoding="float32", summary="as trained", integer=False,
                                       bytes=len(content), zipped=zipped_size(content))


@pytest.fixture
def context(made, tmp_path) -> ExportContext:
    data, folder, variant = made
    about = Description(
        name="digits", labels=data.task.labels(data.index), signature=data.task.signature(data.index))
    return ExportContext(
        model=folder / "model.keras", variants={"float32": variant}, files=folder, about=about, data=data,
        folder=tmp_path)


def test_bytes_are_those_of_all_files_and_of_folders(tmp_path):
    (tmp_path / "one").write_bytes(b"a" * 1000)
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "inner" / "two").write_bytes(b"b" * 500)
    counted = sizes(tmp_path / "one", tmp_path / "folder")
    assert counted["bytes"] == 1500
    assert counted["zipped"] == zipped_size(b"a" * 1000) + zipped_size(b"b" * 500) < 100


def test_a_fresh_folder_is_empty(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    assert list(fresh(tmp_path / "folder").iterdir()) == []


def test_a_target_takes_the_first_variant_of_each_kind_unless_it_names_them():
    variants = [Variant.read(written) for written in (
        {"int8": {"name": "first"}}, "float16", {"int8": {"name": "second"}}, "float32")]
    assert Target.read("onnx").chosen(variants) == ["float32", "first"]
    assert Target.read("ethos-u").chosen(variants) == ["first"]
    assert Target.read({"onnx": ["second", "float16"]}).chosen(variants) == ["second", "float16"]
    assert Target.read({"onnx": {"name": "server"}}).artifacts(variants) == ["server_float32", "server_first"]
    with pytest.raises(ValueError, match="ethos-u takes int8 files only: name such a variant"):
        Target.read("ethos-u").chosen(variants[1:2])


@pytest.mark.parametrize("name", sorted(Target.choices))
def test_what_is_written_of_a_target_is_read_again(name):
    soc = {"qualcomm": "SM8650", "mediatek": "MT6991", "google-tensor": "Tensor_G5", "intel-npu": "LNL"}
    if name in soc:
        pytest.importorskip("ai_edge_litert")
    target = Target.read({name: soc[name]} if name in soc else name)
    assert Target.read(target.written()) == target and target.title == name
    assert isinstance(target, FromVariants) == hasattr(target, "variants")


def test_memory_is_counted_in_kilobytes_of_1024():
    check_memory(None, 10**9, "sram_kb", "SRAM")
    check_memory(2, 2048, "sram_kb", "SRAM")
    with pytest.raises(ValueError, match=r"it needs 2.0 kB of SRAM, and sram_kb says 2.0. Take a smaller model"):
        check_memory(2, 2049, "sram_kb", "SRAM")


def test_phone_files_tell_classes_apart_with_calibrated_scores(context):
    exported, = Target.read("litert").export(context, ["float32"])
    path = context.folder / exported.path
    assert (exported.name, exported.path, exported.bytes) == ("float32", "litert/float32.tflite", path.stat().st_size)
    assert exported.coverage is not None and exported.operators and exported.runs
    about = metadata.read(path.read_bytes())
    assert about.labels == context.about.labels and about.calibration.slope > 0


def test_a_target_of_another_name_has_a_folder_and_artifacts_of_that_name(context):
    target = Target.read({"litert": {"name": "phones"}})
    exported, = target.export(context, ["float32"])
    assert exported.path == "phones/float32.tflite" and [exported.name] == target.artifacts([Variant.read("float32")])


@pytest.mark.parametrize("output", [
    Tensor(name="logits", dtype="float32", shape=(10,), role="values"),
    Tensor(name="logits", dtype="float32", shape=(8, 8, 10), role="logits"),
    Tensor(name="logits", dtype="float32", shape=(11,), role="logits")])
def test_scores_are_calibrated_only_where_there_is_one_logit_per_class_of_an_example(context, monkeypatch, output):
    monkeypatch.setattr(ImageClassification, "outputs", lambda task, index: (output,))
    assert runtimes.score_calibration(context, context.variants["float32"]) is None


def test_scores_of_regression_are_not_calibrated(context):
    data = context.data
    numbers = {"label": data.index.learnt["label"].model_copy(update={"names": []})}
    index = data.index.model_copy(update={"learnt": data.index.learnt | numbers})
    other = dataclasses.replace(context, data=Data(data.section, data.task, index, data.seed))
    assert runtimes.score_calibration(other, context.variants["float32"]) is None


def test_a_saved_model_has_the_signatures_that_the_task_serves(context):
    exported, = Target.read("saved_model").export(context, ["float32"])
    folder = context.folder / exported.path
    assert exported.path == "saved_model/1" and exported.bytes == sizes(folder)["bytes"]
    from export.predictors import open_predictor

    predictor = open_predictor(folder)
    assert {"serving_default", "serving_bytes", "classify"} <= set(predictor.signatures)
    inputs, targets = context.data.arrays("test", 50)
    answers = predictor.predict(inputs)
    assert (answers["logits"].argmax(axis=1) == targets["label"]).mean() > 0.7
    np.testing.assert_allclose(answers["scores"].sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["saved_model", "coreml"])
def test_what_is_written_of_a_keras_model_refuses_a_tflite_file(context, name):
    converted = dataclasses.replace(context, model=context.files / "float32.tflite")
    with pytest.raises(ValueError, match="this one is a TFLite file"):
        Target.read(name).export(converted, ["float32"])


def test_the_page_for_browsers_says_before_training_what_it_cannot_take(context, tmp_path):
    import keras

    target = Target.read("web")
    assert target.preflight({"float32": context.file("float32")}) == []
    inputs = keras.Input((5,), name="image")
    convert.float_graph(keras.Model(inputs, keras.layers.Dense(10, name="logits")(inputs)), _alone, tmp_path / "graph")
    (tmp_path / "rows.tflite").write_bytes(convert.convert(tmp_path / "graph", "float32"))
    with pytest.raises(ValueError, match=r"the page shows classes, masks and boxes of images, and rows takes "
                                         r"image \(1, 5\)"):
        target.preflight({"rows": tmp_path / "rows.tflite"})


def _alone(model) -> list:
    return [graph.function(model, graph.signature_of(model))]
