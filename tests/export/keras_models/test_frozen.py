"""Frozen graphs, as TensorFlow 1 wrote them, and what is said of files that are no models."""
import numpy as np
import pytest
import tensorflow as tf

from export.keras_models import as_graph, foreign_code, other_files
from export.keras_models.foreign_code import ForeignCodeError
from export.predictors import LiteRTPredictor

V1 = tf.compat.v1


@pytest.fixture(scope="module")
def of_tensorflow_1(tmp_path_factory):
    """A session's graph with variables, and the same frozen; what it answers to two inputs."""
    folder = tmp_path_factory.mktemp("frozen")
    generator = np.random.default_rng(0)
    given = [generator.normal(size=(4, 6)).astype("float32"), generator.integers(0, 9, (4, 3)).astype("int32")]
    with V1.Graph().as_default() as graph, V1.Session() as session:
        V1.set_random_seed(1)
        numbers = V1.placeholder("float32", (None, 6), "in/numbers")
        tokens = V1.placeholder("int32", (None, 3), "tokens")
        V1.placeholder("float32", (), "unused")
        table = V1.get_variable("table", (9, 2), use_resource=False)
        kernel = V1.get_variable("kernel", (12, 5), use_resource=False)
        x = tf.concat([numbers, tf.reshape(tf.gather(table, tokens), (-1, 6))], axis=1)
        logits = tf.matmul(x, kernel, name="head/logits")
        V1.identity(tf.nn.softmax(logits), "probabilities")
        tf.reduce_sum(logits, axis=1, name="sum")
        session.run(V1.global_variables_initializer())
        answers = session.run(["probabilities:0", "sum:0"], {numbers: given[0], tokens: given[1]})
        V1.saved_model.simple_save(session, str(folder / "saved"), {"in_numbers": numbers, "tokens": tokens}, {
            "probabilities": graph.get_tensor_by_name("probabilities:0"), "sum": graph.get_tensor_by_name("sum:0")})
        (folder / "variables.pb").write_bytes(graph.as_graph_def().SerializeToString())
        frozen = V1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["probabilities", "sum"])
        (folder / "frozen.pb").write_bytes(frozen.SerializeToString())
    return folder, given, answers


@pytest.mark.parametrize("name", ["frozen.pb", "saved"])
def test_a_graph_of_tensorflow_1_is_asked_and_becomes_a_file(of_tensorflow_1, tmp_path, name):
    folder, given, answers = of_tensorflow_1
    path = folder / name
    signature = as_graph.signature_of(path)
    assert {tensor.name: tensor.shape for tensor in signature.inputs} == {"in_numbers": (6,), "tokens": (3,)}
    named = dict(zip(["in_numbers", "tokens"], given, strict=True))
    expected = dict(zip(["probabilities", "sum"], answers, strict=True))
    answered = as_graph.answers(path, [named[tensor.name] for tensor in signature.inputs])
    (tmp_path / "a.tflite").write_bytes(as_graph.as_named_tflite(path, signature.inputs))
    pressed = LiteRTPredictor(tmp_path / "a.tflite").predict(named)
    for tensor, values in zip(signature.outputs, answered, strict=True):
        np.testing.assert_allclose(values, expected[tensor.name], rtol=1e-6)
        np.testing.assert_allclose(pressed[tensor.name], expected[tensor.name], rtol=1e-5)


def frozen(folder, make):
    """Write a graph; return its path."""
    with V1.Graph().as_default() as graph:
        make()
    (folder / "a.pb").write_bytes(graph.as_graph_def().SerializeToString())
    return folder / "a.pb"


def test_all_that_a_graph_answers_is_given(tmp_path):
    def make():
        x = V1.placeholder("float32", (None, 4), "x")
        tf.math.top_k(x, 2, name="best")
        tf.argmax(tf.nn.softmax(x, name="probabilities"), axis=1, name="classes")
        V1.summary.histogram("seen", x)
        V1.placeholder_with_default(1.0, (), "unused")

    path = frozen(tmp_path, make)
    outputs = [tensor.name for tensor in as_graph.signature_of(path).outputs]
    assert sorted(outputs) == ["best", "best_1", "classes", "probabilities"]
    answered = dict(zip(outputs, as_graph.answers(path, [np.float32([[1, 4, 2, 3]])]), strict=True))
    assert answered["best_1"].tolist() == [[1, 3]] and answered["classes"].tolist() == [1]


@pytest.mark.parametrize(("make", "expected"), [
    (lambda: V1.identity(V1.placeholder("float32", None, "x")), "placeholder x of no known shape"),
    (lambda: V1.placeholder("float32", (None, 2), "x") * V1.placeholder("float32", (), "rate"),
     "placeholder rate of one value for all examples"),
    (lambda: V1.placeholder("float32", (None, 2), "a/b") * V1.placeholder("float32", (None, 2), "a_b"),
     "two placeholders of one name"),
    (lambda: V1.identity(V1.placeholder("float32", (8, 2), "x")), "takes batches of 8 examples alone")])
def test_what_it_takes_must_be_examples(tmp_path, make, expected):
    with pytest.raises(ValueError, match=expected):
        as_graph.signature_of(frozen(tmp_path, make))


def test_a_placeholder_with_a_default_is_taken_where_there_is_no_other(tmp_path):
    path = frozen(tmp_path, lambda: tf.square(V1.placeholder_with_default(np.zeros((1, 2), "float32"), (None, 2), "x"),
                                              "y"))
    assert as_graph.answers(path, [np.float32([[1, 3], [2, 2]])])[0].tolist() == [[1, 9], [4, 4]]


def test_a_graph_whose_weights_are_elsewhere_is_refused(of_tensorflow_1):
    with pytest.raises(ValueError, match=r"weights are in a checkpoint \(table, …\): freeze it"):
        as_graph.signature_of(of_tensorflow_1[0] / "variables.pb")


@pytest.mark.parametrize(("content", "expected"), [(b"\x0a\x03abc", "is damaged|has no placeholder"),
                                                   (b"", "has no placeholder"), (b"\xff" * 50, "is damaged")])
def test_a_damaged_graph_is_refused(tmp_path, content, expected):
    (tmp_path / "a.pb").write_bytes(content)
    with pytest.raises(ValueError, match=expected):
        as_graph.signature_of(tmp_path / "a.pb")


def test_a_frozen_graph_that_calls_python_is_refused(tmp_path):
    with V1.Graph().as_default() as graph:
        x = V1.placeholder("float32", (None, 2))
        V1.identity(V1.py_func(lambda value: value, [x], "float32"), "y")
    (tmp_path / "a.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(ForeignCodeError, match="PyFunc, which calls Python"):
        as_graph.signature_of(tmp_path / "a.pb")


@pytest.mark.parametrize(("name", "expected"), [
    ("a.pth", "is a pickle of PyTorch"), ("a.zip", "is an archive: unpack"),
    ("a.ckpt", "is part of a checkpoint"), ("A.ONNX", "rename it to A.onnx"),
    ("m.data-00001-of-00002", "is part of a checkpoint"), ("a.json", "layers without their weights"),
    ("a.pkl", "runs code"),
    ("saved_model.pb", "is the graph of a SavedModel alone: give its folder"),
    ("a.txt", "is not a model: give a .keras"),
    ("models/1/saved_model.pb", "is not a model itself, and has 1 inside: give one, .*models/1"),
    ("models/digits/3/saved_model.pb", "is not a model itself, and has 1 inside: give one, .*models/digits/3"),
    ("models/m.h5", "is a folder, and not a SavedModel: give a file in it, .*m.h5"),
    ("models/checkpoint", "is a folder of checkpoints"), ("models/b.txt", "is not a model: give a .keras")])
def test_what_is_no_model_is_said_to_be_what_it_is(tmp_path, name, expected):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(b"\0\1\2\3")
    with pytest.raises(ValueError, match=expected):
        as_graph.signature_of(tmp_path / "models" if name.startswith("models/") else path)


@pytest.mark.parametrize("name", ["a.h5", "a.keras", "a.tflite", "a.pb"])
@pytest.mark.parametrize("content", ["version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "\n<!DOCTYPE html>"])
def test_what_stands_for_a_file_is_said_so(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=r"is a pointer of Git LFS|is a web page"):
        foreign_code.is_in(tmp_path / name)
    with pytest.raises(ValueError, match=r"is a pointer of Git LFS|is a web page"):
        as_graph.signature_of(tmp_path / name)


def test_there_is_no_model_where_there_is_nothing(tmp_path):
    assert other_files.why_not(tmp_path / "a.h5") == f"there is no model {tmp_path / 'a.h5'}"
    (tmp_path / "model.ckpt.index").write_bytes(b"")
    assert "is part of a checkpoint" in other_files.why_not(tmp_path / "model.ckpt")
