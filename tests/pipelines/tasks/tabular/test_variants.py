"""What can be made of a table's model in integers, and what cannot."""
import keras
import numpy as np
import pytest

import models
from export.conversion import convert
from export.keras_models import file as keras_file
from export.predictors import open_predictor
from export.targets import saved_model
from pipelines.engine.journal import Journal
from pipelines.tasks.tabular import Tabular
from pipelines.training.section import TrainSection
from pipelines.variants.variant import Calibration, Variant, VariantContext
from tests.pipelines.tasks.tabular.conftest import data_of, write_people


def context_of(builder, folder):
    """Return a builder's fresh model of people's prices, as variants find it."""
    write_people(folder / "people.csv", 120)
    data = data_of(folder, Tabular(problem="regression"), "price", "outcome")
    keras.utils.set_random_seed(0)
    settings = {"units": 16, "heads": 2, "depth": 1} if builder == "ft_transformer" else {"units": (16,)}
    model = models.build(builder, **data.task.dimensions(data.index), **settings)
    keras_file.save(model, folder / "model.keras")
    context = VariantContext(data=data, train=TrainSection(), model=folder / "model.keras", graph=folder / "graph",
                             folder=folder, calibration_section=Calibration(), journal=Journal(folder / "journal"))
    convert.float_graph(model, context.functions, folder / "graph")
    return context


@pytest.mark.parametrize(("builder", "written"), [
    ("mlp", "int8"), ("wide_and_deep", "int8"), ("ft_transformer", "int8"), ("mlp", {"int8": {"ranges": "mse"}}),
    ("mlp", {"int8": {"correct_bias": True}})])
def test_integer_files_take_rows_with_missing_numbers(builder, written, tmp_path):
    context = context_of(builder, tmp_path)
    inputs, _ = context.data.arrays("train", 60)
    assert np.isnan(inputs["age"]).any()
    exact = open_predictor(context.model).predict(inputs)["value"]
    path = tmp_path / "variant.tflite"
    record = Variant.read(written).make(context, path)
    answers = open_predictor(path).predict(inputs)["value"]
    assert not record.integer and record.summary == "weights and activations in 8-bit integers, real numbers in and out"
    assert np.sqrt(np.mean((answers - exact)**2)) < 0.15 * exact.std()


def test_columns_may_be_called_anything(tmp_path):
    """Names that mean something to Python, TensorFlow or Keras, or that differ in case alone."""
    names = ["self", "class", "Class", "None", "name", "inputs", "value", "dense", "Add", "where", "mean (%)",
             "temp", "temp_in", "temp_embedding", "deep_head"]
    lines = [",".join([*names, "outcome", "price"])]
    for row in range(40):
        lines.append(",".join(str(row * (place + 1) % 7) for place in range(len(names))) + f",{row % 2},{row}.5")
    (tmp_path / "people.csv").write_text("\n".join(lines))
    data = data_of(tmp_path, Tabular(problem="regression"), "price", "outcome")
    model = models.build("mlp", **data.task.dimensions(data.index), units=(8,))
    inputs, _ = data.arrays("train", 4)
    saved_model.export(model, tmp_path / "saved", data.task.functions(model, data, "server"))
    convert.float_graph(model, lambda written: data.task.functions(written, data, "device"), tmp_path / "graph")
    (tmp_path / "float32.tflite").write_bytes(convert.convert(tmp_path / "graph", "float32"))
    expected = np.asarray(model(inputs)["value"])
    for path in (tmp_path / "saved", tmp_path / "float32.tflite"):
        np.testing.assert_allclose(open_predictor(path).predict(inputs)["value"], expected, rtol=1e-5)


@pytest.mark.parametrize(("written", "message"), [
    ("int16x8", "int16x8 files take no real numbers, which this task's inputs are; use int8"),
    ({"qat": {"epochs": 1}}, "a training with the rounding of int8 rounds its inputs too")])
def test_what_would_round_the_inputs_is_refused(written, message, tmp_path):
    context = context_of("mlp", tmp_path)
    with pytest.raises(ValueError, match=message):
        Variant.read(written).content(context)
