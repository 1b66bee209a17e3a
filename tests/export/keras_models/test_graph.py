"""Models as functions of named tensors: called and written by a signature, whatever their own structure is."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from export.keras_models import bridge, graph
from export.signature import DEFAULT, Function, Signature, Tensor

IMAGE = Tensor(name="image", dtype="uint8", shape=(6, 6, 3), role="image")
AGE = Tensor(name="age", dtype="float32", shape=(2,))


def two_and_two(inputs="dict", outputs="dict"):
    keras.utils.set_random_seed(0)
    image, age = keras.Input((6, 6, 3), name="image"), keras.Input((2,), name="age")
    x = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling2D()(image), age])
    logits, hours = keras.layers.Dense(4, name="logits")(x), keras.layers.Dense(1, name="hours")(x)
    return keras.Model({"dict": {"image": image, "age": age}, "list": [image, age]}[inputs],
                       {"dict": {"logits": logits, "hours": hours}, "list": [logits, hours]}[outputs])


def outputs_of(*names):
    sizes = {"logits": 4, "hours": 1}
    return tuple(Tensor(name=name, dtype="float32", shape=(sizes[name],)) for name in names)


@pytest.fixture
def examples():
    generator = np.random.default_rng(0)
    return {"image": generator.integers(0, 256, (3, 6, 6, 3)).astype("uint8"),
            "age": generator.random((3, 2), "float32")}


@pytest.mark.parametrize("library", [keras, "tf_keras"])
@pytest.mark.parametrize("structure", [("dict", "dict"), ("list", "dict"), ("dict", "list"), ("list", "list")])
def test_a_function_goes_by_the_names_of_its_signature(structure, library, examples):
    model = two_and_two(*structure)
    called = model if library is keras else bridge.to_tf_keras(model)
    function = graph.function(called, Signature(inputs=(AGE, IMAGE), outputs=outputs_of("logits", "hours")))
    outputs = function.call(**{name: tf.constant(value) for name, value in examples.items()})
    expected = two_and_two()({name: value.astype("float32") for name, value in examples.items()})
    assert list(outputs) == ["logits", "hours"]
    for name, value in outputs.items():
        np.testing.assert_array_equal(value, expected[name])


def test_a_signature_may_ask_for_fewer_outputs_of_a_dict():
    function = graph.function(two_and_two(), Signature(inputs=(IMAGE, AGE), outputs=outputs_of("hours")))
    assert list(function.call(image=tf.zeros((1, 6, 6, 3), tf.uint8), age=tf.zeros((1, 2)))) == ["hours"]


def test_a_single_input_and_output_go_by_any_name():
    model = keras.Sequential([keras.Input((2,), name="x"), keras.layers.Dense(4, name="dense")])
    function = graph.function(model, Signature(inputs=(AGE,), outputs=outputs_of("logits")))
    np.testing.assert_array_equal(function.call(age=tf.ones((1, 2)))["logits"], model(np.ones((1, 2))))


@pytest.mark.parametrize(("inputs", "outputs", "message"), [
    ((IMAGE,), ("logits",), "takes age, image; it is called with image"),
    ((IMAGE, AGE), ("logits", "days"), "has no output days; it gives hours, logits"),
    ((IMAGE, AGE.model_copy(update={"name": "years"})), ("logits",), "it is called with image, years")])
def test_what_a_model_lacks_is_named(inputs, outputs, message):
    named = tuple(Tensor(name=name, dtype="float32", shape=(1,)) for name in outputs)
    with pytest.raises(ValueError, match=message):
        graph.function(two_and_two(), Signature(inputs=inputs, outputs=named))


def test_a_list_must_have_as_many_outputs_as_the_signature():
    with pytest.raises(ValueError, match="gives logits, hours; it must give logits"):
        graph.function(two_and_two(outputs="list"), Signature(inputs=(IMAGE, AGE), outputs=outputs_of("logits")))


@pytest.mark.parametrize("structure", [("dict", "dict"), ("list", "list")])
def test_the_signature_of_a_model_alone(structure):
    model = two_and_two(*structure)
    for one in (model, bridge.to_tf_keras(model)):
        signature = graph.signature_of(one)
        tensors = {tensor.name: tensor for tensor in (*signature.inputs, *signature.outputs)}
        assert {name: tensor.shape for name, tensor in tensors.items()} == {
            "image": (6, 6, 3), "age": (2,), "logits": (4,), "hours": (1,)}
        assert {name: tensor.role for name, tensor in tensors.items()} == {
            "image": "image", "age": "values", "logits": "logits", "hours": "values"}


def test_the_types_of_inputs_are_the_models():
    words = keras.Input((None,), dtype="int32", name="words")
    model = keras.Model(words, keras.layers.Embedding(9, 4, name="vectors")(words))
    signature = graph.signature_of(model)
    assert signature.inputs == (Tensor(name="words", dtype="int32", shape=(None,), role="tokens"),)
    assert signature.outputs == (Tensor(name="vectors", dtype="float32", shape=(None, 4)),)


def test_outputs_of_one_operation_have_different_names():
    window = keras.Input((5, 3))
    outputs = keras.layers.LSTM(4, return_state=True, name="lstm")(window)
    assert graph.output_names(keras.Model(window, list(outputs))) == ["lstm", "lstm_1", "lstm_2"]


@pytest.mark.parametrize("batch", [None, 1])
def test_every_function_is_written_as_a_signature(batch, tmp_path, examples):
    model = two_and_two()
    plain = graph.function(model, Signature(inputs=(IMAGE, AGE), outputs=outputs_of("logits", "hours")))
    grey = Function(Signature(name="without_age", inputs=(IMAGE,), outputs=outputs_of("hours")),
                    lambda image: {"hours": plain.call(image=image, age=tf.zeros((tf.shape(image)[0], 2)))["hours"]})
    graph.write(model, tmp_path / "graph", [plain, grey], batch)
    signatures = tf.saved_model.load(str(tmp_path / "graph")).signatures
    assert set(signatures) == {DEFAULT, "without_age"}
    taken = signatures[DEFAULT].structured_input_signature[1]
    assert {name: (spec.dtype, tuple(spec.shape)) for name, spec in taken.items()} == {
        "image": (tf.uint8, (batch, 6, 6, 3)), "age": (tf.float32, (batch, 2))}
    received = {name: tf.constant(value[:1]) for name, value in examples.items()}
    expected = plain.call(**received)
    for name, value in signatures[DEFAULT](**received).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-5)
    assert list(signatures["without_age"](image=received["image"])) == ["hours"]


def test_writing_twice_gives_the_same_variables(tmp_path):
    model = two_and_two()
    function = graph.function(model, graph.signature_of(model))
    for name in ("a", "b"):
        graph.write(model, tmp_path / name, [function], None)
    for file in ("variables/variables.data-00000-of-00001", "variables/variables.index"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_signatures_of_tf_servings_own_calls_have_its_method_names(tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    model = two_and_two()
    signature = Signature(inputs=(IMAGE, AGE), outputs=outputs_of("hours"))
    functions = [graph.function(model, signature.renamed(name)) for name in ("classify", "regress", "other")]
    graph.write(model, tmp_path / "graph", functions, None)
    content = saved_model_pb2.SavedModel.FromString((tmp_path / "graph" / "saved_model.pb").read_bytes())
    methods = {name: one.method_name for name, one in content.meta_graphs[0].signature_def.items()}
    assert methods["classify"] == graph.CLASSIFY_METHOD and methods["regress"] == "tensorflow/serving/regress"
    assert methods["other"] == "tensorflow/serving/predict"
