"""A model of named inputs of three kinds and of two named outputs, in every encoding: names stay, and integers go
where real numbers were."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from export.conversion import bias_correction, calibration, convert, int8
from export.keras_models import graph
from export.predictors import LiteRTPredictor
from export.signature import DEFAULT, Function, Signature, Tensor
from export.tflite import file as tflite_file
from export.tflite import signatures

EXAMPLES = 60


def build():
    """From an image, numbers and tokens, which are not in alphabetical order, to logits and a value."""
    keras.utils.set_random_seed(0)
    photo, age = keras.Input((8, 8, 3), name="photo"), keras.Input((4,), name="age")
    words = keras.Input((5,), dtype="int32", name="words")
    seen = keras.layers.Conv2D(8, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(photo))
    parts = [keras.layers.GlobalAveragePooling2D()(seen), keras.layers.Dense(8, activation="relu")(age),
             keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(20, 8)(words))]
    x = keras.layers.LayerNormalization()(keras.layers.Concatenate()(parts))
    return keras.Model({"photo": photo, "age": age, "words": words},
                       {"logits": keras.layers.Dense(3, name="l")(x), "hours": keras.layers.Dense(1, name="h")(x)})


def functions(model):
    return [graph.function(model, graph.signature_of(model))]


@pytest.fixture(scope="module")
def inputs():
    generator = np.random.default_rng(0)
    return {"age": generator.normal(size=(EXAMPLES, 4)), "words": generator.integers(0, 20, (EXAMPLES, 5)),
            "photo": generator.integers(0, 256, (EXAMPLES, 8, 8, 3)).astype("uint8")}


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module")
def source(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("named") / "graph"
    convert.float_graph(model, functions, folder)
    return folder


@pytest.fixture(scope="module")
def expected(model, inputs):
    return {name: np.asarray(value) for name, value in model(inputs, training=False).items()}


@pytest.fixture(scope="module")
def calibrated(source, inputs):
    return int8.calibrate(source, [(DEFAULT, inputs)])


def errors(content, inputs, expected, folder):
    """Output to the root mean square error of a file, as a share of the values' deviation."""
    (folder / "model.tflite").write_bytes(content)
    outputs = LiteRTPredictor(folder / "model.tflite").predict(inputs)
    assert outputs.keys() == expected.keys()
    return {name: np.sqrt(((outputs[name] - value) ** 2).mean()) / value.std() for name, value in expected.items()}


def types(content):
    signature = signatures.main(content)
    return {name: info.dtype for name, info in (signature.inputs | signature.outputs).items()}


FLOATS = {"photo": "float32", "age": "float32", "words": "int32", "logits": "float32", "hours": "float32"}
INTEGERS = {"photo": "uint8", "age": "int8", "words": "int32", "logits": "int8", "hours": "int8"}


@pytest.mark.parametrize(("encoding", "tolerance", "expected_types"), [
    ("float32", 1e-5, FLOATS), ("float16", 0.01, FLOATS), ("dynamic", 0.05, FLOATS), ("int8_weights", 0.05, FLOATS),
    ("int8", 0.1, INTEGERS)])
def test_every_encoding_keeps_the_names(encoding, tolerance, expected_types, source, inputs, expected, tmp_path):
    content = convert.convert(source, encoding, [(DEFAULT, inputs)])
    assert max(errors(content, inputs, expected, tmp_path).values()) < tolerance
    assert types(content) == expected_types
    assert bool(tflite_file.float_tensors(content)) is (encoding != "int8")


def test_integer_files_take_and_give_real_numbers_where_they_are_to(source, inputs, expected, calibrated, tmp_path):
    for content in (convert.convert(source, "int8", [(DEFAULT, inputs)], integer_io=False),
                    int8.quantize(calibrated, integer_io=False)):
        assert types(content) == FLOATS
        assert max(errors(content, inputs, expected, tmp_path).values()) < 0.1


def test_images_alone_are_stored_as_their_pixels(calibrated):
    assert signatures.main(int8.quantize(calibrated)).inputs["photo"].stores_values


def test_quantizing_step_by_step_keeps_the_names(calibrated, source, inputs, expected, tmp_path):
    best = int8.quantize(int8.with_best_ranges(calibrated, inputs))
    corrected = bias_correction.corrected(best, convert.convert(source, "float32"), inputs)
    for content in (int8.quantize(calibrated), best, corrected):
        assert types(content) == INTEGERS
        assert max(errors(content, inputs, expected, tmp_path).values()) < 0.1


def test_a_file_whose_last_operator_is_float_takes_and_gives_real_numbers(calibrated, inputs, expected, tmp_path):
    from export.tflite.trace import Trace

    content = int8.quantize(calibrated, keep_float=[len(Trace(calibrated).steps) - 1])
    assert types(content) == FLOATS
    assert max(errors(content, inputs, expected, tmp_path).values()) < 0.1


def test_operators_kept_float_inside_leave_both_ends_integers(calibrated):
    from export.tflite.trace import Trace

    normalization = next(step.number for step in Trace(calibrated).steps if step.operator == "RSQRT")
    assert types(int8.quantize(calibrated, keep_float=[normalization])) == INTEGERS


def test_a_float_file_is_quantized_by_its_names_too(source, inputs, expected, tmp_path):
    (tmp_path / "float32.tflite").write_bytes(convert.convert(source, "float32"))
    content = convert.convert(tmp_path / "float32.tflite", "int8", [(DEFAULT, inputs)])
    assert types(content) == INTEGERS
    assert max(errors(content, inputs, expected, tmp_path).values()) < 0.1


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0)])
def test_a_file_whose_inputs_are_not_in_the_order_of_their_tensors_is_calibrated_by_name(order, source, inputs,
                                                                                         expected, tmp_path):
    file = tflite_file.read(convert.convert(source, "float32"))
    file.subgraphs[0].inputs = [file.subgraphs[0].inputs[number] for number in order]
    path = tmp_path / "float32.tflite"
    path.write_bytes(tflite_file.write(file))
    content = convert.convert(path, "int8", [(DEFAULT, inputs)])
    assert max(errors(content, inputs, expected, tmp_path).values()) < 0.1


@pytest.mark.parametrize(("value", "message"), [
    (None, "int8 needs calibration examples"), ([], "int8 needs calibration examples"),
    ([(DEFAULT, {"age": np.zeros((0, 4))})], "int8 needs calibration examples"),
    ([("decode", {"age": np.zeros((1, 4))})], "the graph has no signature decode; it has serving_default"),
    ([(DEFAULT, {"age": np.zeros((1, 4)), "words": np.zeros((1, 5))})],
     "the input photo is missing; there are age, words"),
    ([(DEFAULT, {"age": np.zeros((1, 3)), "words": np.zeros((1, 5)), "photo": np.zeros((1, 8, 8, 3))})],
     r"the input age is \(batch, 3\); it must be \(batch, 4\)")])
def test_calibration_that_does_not_fit_is_named(source, value, message):
    with pytest.raises(ValueError, match=message):
        convert.convert(source, "int8", value)


def test_examples_come_one_by_one_in_the_types_of_the_graph(source, inputs):
    examples = list(calibration.representative(source, [(DEFAULT, inputs), (DEFAULT, inputs)])())
    assert len(examples) == 2 * EXAMPLES
    name, first = examples[0]
    assert name == DEFAULT
    assert {key: (value.shape, value.dtype.name) for key, value in first.items()} == {
        "age": ((1, 4), "float32"), "photo": ((1, 8, 8, 3), "float32"), "words": ((1, 5), "int32")}


def test_several_signatures_are_converted_and_calibrated_each_with_its_examples(tmp_path):
    """As of a model with a state: `prefill` begins without one, `decode` goes on from it."""
    keras.utils.set_random_seed(0)
    x, state = keras.Input((6,), name="x"), keras.Input((8,), name="state")
    hidden = keras.layers.Dense(8, "relu")(keras.layers.Concatenate()([x, state]))
    model = keras.Model({"x": x, "state": state}, {"y": keras.layers.Dense(3)(hidden), "state": hidden})

    def both(written):
        decode = graph.function(written, graph.signature_of(written).renamed("decode"))
        inputs = (Tensor(name="x", dtype="float32", shape=(6,)),)
        prefill = Signature(name="prefill", inputs=inputs, outputs=decode.signature.outputs)
        return [decode, Function(prefill, lambda x: decode.call(x=x, state=tf.zeros((1, 8))))]

    convert.float_graph(model, both, tmp_path / "graph")
    generator = np.random.default_rng(0)
    first, later = generator.normal(size=(2, 40, 6))
    states = np.asarray(model({"x": first, "state": np.zeros((40, 8))})["state"])
    value = [("prefill", {"x": first}), ("decode", {"x": later, "state": states})]
    expected = np.asarray(model({"x": later, "state": states})["y"])
    for encoding, tolerance in (("float32", 1e-5), ("int8", 0.05)):
        content = convert.convert(tmp_path / "graph", encoding, value)
        assert bool(tflite_file.float_tensors(content)) is (encoding != "int8")
        (tmp_path / "model.tflite").write_bytes(content)
        predictor = LiteRTPredictor(tmp_path / "model.tflite")
        assert {name: [tensor.name for tensor in one.inputs] for name, one in predictor.signatures.items()} == {
            "decode": ["state", "x"], "prefill": ["x"]}
        kept = predictor.predict({"x": first}, "prefill")["state"]
        answers = predictor.predict({"x": later, "state": kept}, "decode")["y"]
        assert np.abs(answers - expected).max() < tolerance * np.abs(expected).max()
