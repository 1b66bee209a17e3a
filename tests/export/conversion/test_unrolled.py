"""Recurrent layers without their loops: equal to those with them, and integer where the others crash the converter."""
import keras
import numpy as np
import pytest

from export.conversion import convert, unrolled
from export.keras_models import graph
from export.predictors import LiteRTPredictor
from export.tflite import file as tflite_file
from export.tflite import profile
from pipelines.tools.inspect_model import functions_of

L = keras.layers
SEQUENCES = np.random.default_rng(0).normal(size=(40, 9, 4)).astype("float32")


def recurrent(inner: bool = False) -> keras.Model:
    """One of each kind, with a mask, a state that goes from one to the other, and if wished inside an inner model."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((9, 4), name="x")
    x = L.Bidirectional(L.LSTM(3, return_sequences=True), merge_mode="sum")(inputs)
    x = L.Masking(0.25)(L.Concatenate()([x, inputs]))
    x, state = L.GRU(5, return_sequences=True, return_state=True, go_backwards=True)(x)
    x = L.GRU(5, return_sequences=True, reset_after=False)(x, initial_state=state)
    last = [L.RNN(L.StackedRNNCells([L.LSTMCell(2), L.SimpleRNNCell(3)])), L.Dense(4)]
    if inner:
        x = keras.Sequential([keras.Input(x.shape[1:]), *last], name="inner")(x)
    else:
        for layer in last:
            x = layer(x)
    return keras.Model(inputs, {"y": x})


@pytest.mark.parametrize("inner", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_without_loops_they_compute_the_same_and_become_integers(tmp_path, inner):
    model = recurrent(inner)
    given = SEQUENCES
    plain = unrolled.unrolled(model, every=True)
    expected = model.predict({"x": given}, verbose=0)["y"]
    np.testing.assert_allclose(plain.predict({"x": given}, verbose=0)["y"], expected, atol=1e-6)
    convert.float_graph(plain, functions_of, tmp_path / "graph")
    name = graph.signature_of(model).name
    content = convert.convert(tmp_path / "graph", "int8", [(name, {"x": given})], all_integer=False)
    assert "WHILE" not in tflite_file.operators(content)
    (tmp_path / "int8.tflite").write_bytes(content)
    answered = LiteRTPredictor(tmp_path / "int8.tflite").predict({"x": given})["y"]
    assert np.abs(answered - expected).mean() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("layer", [lambda: L.Dense(2), lambda: L.SimpleRNN(2, unroll=True), lambda: L.Conv1D(2, 3)])
def test_what_has_no_loop_stays(layer):
    assert unrolled.unrolled(keras.Sequential([keras.Input((9, 4)), layer()])) is None


@pytest.mark.parametrize("layer", [L.LSTM, L.GRU])
@pytest.mark.parametrize("unroll", [False, True])
def test_gates_are_not_split_off_one_product(tmp_path, layer, unroll):
    """Of those the converter leaves some in floats, one time in three."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4, 4), name="x"), layer(8, unroll=unroll)])
    convert.float_graph(unrolled.unrolled(model, every=True), functions_of, tmp_path / "graph")
    given = {"x": np.random.default_rng(0).normal(size=(20, 4, 4)).astype("float32")}
    content = convert.convert(tmp_path / "graph", "int8", [(graph.signature_of(model).name, given)], all_integer=False)
    assert "SPLIT" not in tflite_file.operators(content)
    assert tflite_file.float_operators(content) == []


def test_long_sequences_that_have_no_loop_compute_their_gates_one_by_one():
    model = keras.Sequential([keras.Input((unrolled.MOST_STEPS + 1, 1)), L.LSTM(1, unroll=True)])
    assert unrolled.unrolled(model, every=True).layers[-1].cell.implementation == 1
    assert unrolled.unrolled(model) is None, "it becomes one operator"


@pytest.mark.parametrize(("shape", "layer"), [
    ((None, 4), lambda: L.LSTM(2)), ((unrolled.MOST_STEPS + 1, 4), lambda: L.LSTM(2)),
    ((3, 6, 2), lambda: L.ConvLSTM1D(2, 2)), ((9, 4), lambda: L.LSTM(2, stateful=True))])
def test_what_cannot_be_written_out_stays(shape, layer):
    assert unrolled.unrolled(keras.Sequential([keras.Input(shape, batch_size=1), layer()]), every=True) is None


def test_masked_sequences_compute_the_same(tmp_path):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((9, 4), name="x")
    masked = L.Masking()(inputs)
    there_and_back = L.Bidirectional(L.LSTM(3, return_sequences=True))(masked)
    model = keras.Model(inputs, {"y": L.Bidirectional(L.GRU(3))(masked), "z": L.LSTM(3)(there_and_back)})
    plain = unrolled.unrolled(model, every=True)
    given = SEQUENCES.copy()
    given[:10, 5:] = 0
    expected = model.predict({"x": given}, verbose=0)
    for name, values in plain.predict({"x": given}, verbose=0).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-6)


@pytest.fixture(scope="module")
def loops(tmp_path_factory):
    """A float32 file with two loops, of which the graphs have tensors of one name."""
    folder = tmp_path_factory.mktemp("loops")
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((9, 40), name="x"), L.GRU(30, return_sequences=True), L.LSTM(30)])
    convert.float_graph(model, functions_of, folder / "graph")
    return folder, convert.convert(folder / "graph", "float32")


def test_a_loop_is_timed_as_one_operator(loops):
    times = profile.by_kind(profile.operator_times(loops[1], runs=3))
    assert times["WHILE"] > 0 and sum(kind == "WHILE" for kind in times) == 1


def test_weights_in_loops_become_integers_too(loops):
    folder, content = loops
    rounded = convert.convert(folder / "graph", "int8_weights")
    assert len(rounded) < 0.6 * len(content)
    answers = []
    for name, one in (("float32", content), ("rounded", rounded)):
        (folder / f"{name}.tflite").write_bytes(one)
        given = {"x": np.random.default_rng(0).normal(size=(5, 9, 40)).astype("float32")}
        answers.append(next(iter(LiteRTPredictor(folder / f"{name}.tflite").predict(given).values())))
    np.testing.assert_allclose(answers[1], answers[0], atol=0.05)
