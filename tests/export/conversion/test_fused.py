"""LSTMs as one operator of TFLite: equal to Keras on weights that show where they would not be."""
import keras
import numpy as np
import pytest

from export.conversion import convert, fused
from export.keras_models import graph
from export.predictors import LiteRTPredictor
from export.tflite import file as tflite_file
from export.tflite import lstm, profile
from pipelines.tools.inspect_model import functions_of

L = keras.layers
STEPS, FEATURES = 20, 8
RNG = np.random.default_rng(0)
SEQUENCES = RNG.normal(size=(40, STEPS, FEATURES)).astype("float32")
ENCODINGS = ("float32", "float16", "dynamic", "int8")


def shaken(model: keras.Model) -> keras.Model:
    """Return the model with weights that keep what they saw: orthogonal ones from step to step, gates that stay open,
    so that cells grow."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        weights = []
        for weight in layer.weights:
            shape = tuple(weight.shape)
            if "recurrent_kernel" in weight.path:
                parts = [np.linalg.qr(rng.normal(size=(shape[0], shape[0])))[0] for _ in range(shape[1] // shape[0])]
                weights.append(np.concatenate(parts, axis=1))
            elif len(shape) > 1:
                weights.append(rng.normal(0, 1.5 / np.sqrt(shape[0]), shape))
            else:
                bias = rng.normal(0, 0.2, shape)
                if isinstance(layer, L.RNN) and shape[0] % 4 == 0:
                    units = shape[0] // 4  # of the gates for what comes in, what stays, the cell and what goes out
                    bias[units:2 * units] += 4
                    bias[:units] += 2
                    bias[2 * units:2 * units + units // 2] += 2
                weights.append(bias)
        layer.set_weights([weight.astype("float32") for weight in weights])
    return model


def stacked() -> keras.Model:
    keras.utils.set_random_seed(1)
    return shaken(keras.Sequential([keras.Input((STEPS, FEATURES), name="x"), L.LSTM(16, return_sequences=True),
                                    L.LSTM(12), L.Dense(5)]))


def functional(layers, steps=STEPS) -> keras.Model:
    """Return a model of layers in a row, whose weights are Keras' own."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((steps, FEATURES), name="x")
    x = inputs
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, {"y": x})


def converted(model, folder, encoding="float32", examples=SEQUENCES, finish=True, monkeypatch=None):
    """Return a predictor of the model's file."""
    if not finish:
        monkeypatch.setattr(lstm, "finished", lambda content: content)
    if not (folder / "graph").exists():
        convert.float_graph(model, functions_of, folder / "graph")
    calibration = [(graph.signature_of(model).name, {"x": examples})] if encoding == "int8" else None
    path = folder / f"{encoding}{finish}.tflite"
    path.write_bytes(convert.convert(folder / "graph", encoding, calibration))
    return LiteRTPredictor(path)


def answers(predictor, inputs=SEQUENCES):
    return next(iter(predictor.predict({"x": inputs}).values()))


def of_keras(model, inputs=SEQUENCES):
    answered = model.predict(inputs, verbose=0)
    return next(iter(answered.values())) if isinstance(answered, dict) else answered


def lstms(predictor) -> int:
    return tflite_file.operators(predictor.path.read_bytes()).get(lstm.KIND, 0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stacked")
    return {encoding: converted(stacked(), folder, encoding) for encoding in ENCODINGS}


@pytest.mark.parametrize(("encoding", "largest", "mean"), [
    ("float32", 2e-6, 1e-6), ("float16", 0.01, 0.002), ("dynamic", 0.2, 0.04), ("int8", 0.2, 0.04)])
def test_stacked_layers_are_one_operator_each_and_equal_to_keras(files, encoding, largest, mean):
    predictor, expected = files[encoding], of_keras(stacked())
    assert lstms(predictor) == 2 and "WHILE" not in tflite_file.operators(predictor.path.read_bytes())
    difference = np.abs(answers(predictor) - expected)
    assert difference.max() < largest and difference.mean() < mean, (difference.max(), difference.mean())


def test_integer_files_are_wholly_integer_and_small(files):
    content = files["int8"].path.read_bytes()
    assert tflite_file.float_tensors(content) == []


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_answer_the_same_whatever_they_were_asked_before(files, encoding):
    forwards, backwards = answers(files[encoding]), answers(files[encoding], SEQUENCES[::-1])[::-1]
    twice = answers(files[encoding], np.repeat(SEQUENCES[:5], 2, axis=0))
    np.testing.assert_array_equal(forwards, backwards)
    np.testing.assert_array_equal(twice[::2], twice[1::2])
    np.testing.assert_array_equal(twice[::2], forwards[:5])


def test_as_the_converter_leaves_it_a_file_remembers(tmp_path, monkeypatch):
    """What the test above would find."""
    predictor = converted(stacked(), tmp_path, finish=False, monkeypatch=monkeypatch)
    first = answers(predictor, SEQUENCES[:1])
    assert np.abs(first - answers(predictor, SEQUENCES[:1])).max() > 0.01


def counter() -> keras.Model:
    """Return a model whose cells are the sum of what it is given, 1 or -1 a step, and minus that."""
    model = keras.Sequential([keras.Input((60, 1), name="x"), L.LSTM(2)])
    little = 0.05 * np.random.default_rng(0).normal(size=(3, 8))
    kernel = little[0] + np.array([[0, 0, 0, 0, 3, -3, 0, 0]])
    bias = np.array([7, 7, 7, 7, 0, 0, 7, 7])
    model.layers[0].set_weights([one.astype("float32") for one in (kernel, little[1:], bias)])
    return model


#: Twenty up, and down again by 10 to 30; a step of zeros does nothing.
COUNTED = np.stack([[1.0] * 20 + [-1.0] * down + [0.0] * (40 - down) for down in (10, 19, 20, 21, 30)])
COUNTED = COUNTED[..., None].astype("float32")


@pytest.mark.parametrize("encoding", ["float32", "int8"])
def test_cells_have_no_bound(tmp_path, encoding, monkeypatch):
    """Keras does not clip, and the converter writes a bound of 10, under which the calibration saw ranges too."""
    model = counter()
    expected = of_keras(model, COUNTED)
    assert expected[0, 0] > 0.99 and expected[-1, 0] < -0.99
    predictor = converted(model, tmp_path, encoding, COUNTED)
    np.testing.assert_allclose(answers(predictor, COUNTED), expected, atol=1e-5 if encoding == "float32" else 0.2)
    monkeypatch.setattr(lstm, "without_bound", lambda content: content)
    bounded = converted(model, tmp_path, encoding, COUNTED, finish=False, monkeypatch=monkeypatch)
    bounded._interpreter.reset_all_variables()
    assert np.abs(answers(bounded, COUNTED[2:3]) - expected[2:3]).max() > 0.9


def test_integers_of_small_cells(tmp_path):
    """The kernel's tanh knows no scale below that of -1 to 1, and answered the same number whatever it was given."""
    model, given = functional([L.LSTM(6)]), 0.02 * SEQUENCES
    expected = of_keras(model, given)
    assert np.abs(expected).max() < 0.02
    answered = answers(converted(model, tmp_path, "int8", given), given)
    assert np.abs(answered - expected).mean() < 0.05 * np.abs(expected).max()


def test_finishing_twice_changes_nothing(files):
    content = files["int8"].path.read_bytes()
    assert tflite_file.operators(lstm.finished(content)) == tflite_file.operators(content)


@pytest.mark.parametrize("encoding", ["float32", "int8"])
def test_operators_are_timed_on_their_own(files, encoding):
    times = profile.by_kind(profile.operator_times(files[encoding].path.read_bytes(), runs=2))
    assert times[lstm.KIND] > 0


def test_weights_alone_in_integers(tmp_path, files):
    model = stacked()
    predictor = converted(model, tmp_path, "int8_weights")
    assert len(predictor.path.read_bytes()) < 0.7 * len(files["float32"].path.read_bytes())
    assert np.abs(answers(predictor) - of_keras(model)).mean() < 0.03
    np.testing.assert_array_equal(answers(predictor), answers(predictor))


def test_microcontrollers_answer_the_same_and_forget_too(files, tmp_path):
    pytest.importorskip("tflite_micro")
    from export.predictors.micro import MicroPredictor
    from export.targets import microcontroller

    path, _ = microcontroller.write(files["int8"].path.read_bytes(), "lstm", tmp_path)
    predictor, step = MicroPredictor(path), files["int8"].tensors
    one = next(iter(next(iter(step.values())).outputs.values())).scale
    answered = answers(predictor)
    assert np.abs(answered - answers(files["int8"])).max() <= 2.01 * one
    np.testing.assert_array_equal(answers(predictor, SEQUENCES[::-1])[::-1], answered)


def test_joined_directions_have_the_scale_that_each_computes_with(tmp_path, monkeypatch):
    """A concatenation has one scale, that of what it is joined with, and an LSTM gives numbers at its own."""
    inputs = keras.Input((STEPS, FEATURES), name="x")
    ways = L.Bidirectional(L.LSTM(12, return_sequences=True))(inputs)
    joined = L.Concatenate()([ways, 6 * inputs])
    model = shaken(keras.Model(inputs, {"y": L.Dense(4)(L.GlobalAveragePooling1D()(joined))}))
    expected = of_keras(model)
    spread = expected.std()
    assert np.abs(answers(converted(model, tmp_path, "int8")) - expected).mean() < 0.03 * spread
    monkeypatch.setattr(lstm, "_give_at_own_scale", lambda *arguments: None)
    monkeypatch.setattr(lstm, "_hand_on_at_one_scale", lambda *arguments: None)
    (tmp_path / "other").mkdir()
    assert np.abs(answers(converted(model, tmp_path / "other", "int8")) - expected).mean() > 0.1 * spread


def test_outputs_reach_from_minus_one_to_one_whatever_the_calibration_saw(tmp_path):
    predictor = converted(stacked(), tmp_path, "int8", SEQUENCES[:2] * 0.01)
    model = tflite_file.read(predictor.path.read_bytes())
    for tensors, operator in lstm.operators(model):
        hidden = tensors.tensors[int(operator.inputs[lstm.HIDDEN])]
        assert tflite_file.scales(hidden)[0] == pytest.approx(2 / 255, rel=0.01)


def test_small_outputs_keep_seven_bits(tmp_path):
    model, given = functional([L.LSTM(6)]), 0.2 * SEQUENCES  # of Keras' own weights
    expected = of_keras(model, given)
    assert np.abs(expected).max() < 0.2
    predictor = converted(model, tmp_path, "int8", given)
    assert np.abs(answers(predictor, given) - expected).mean() < 0.03 * np.abs(expected).max()


REPAIRED = {
    "without bias": [L.LSTM, {"use_bias": False}],
    "recurrent dropout": [L.LSTM, {"recurrent_dropout": 0.5, "dropout": 0.2}],
    "unrolled": [L.LSTM, {"unroll": True}],
    "backwards": [L.LSTM, {"go_backwards": True}]}


@pytest.mark.parametrize("name", REPAIRED)
@pytest.mark.parametrize("sequences", [pytest.param(False, marks=pytest.mark.slow), True])
def test_what_keeps_the_converter_from_it_is_no_hindrance(tmp_path, name, sequences):
    kind, settings = REPAIRED[name]
    model = functional([kind(6, return_sequences=sequences, **settings)], 5)
    given = SEQUENCES[:6, :5]
    predictor = converted(model, tmp_path)
    assert lstms(predictor) == 1
    np.testing.assert_allclose(answers(predictor, given), of_keras(model, given), atol=1e-6)


def layers_of_cells():
    return [L.RNN([L.LSTMCell(6), L.LSTMCell(4)], return_sequences=True), L.RNN(L.LSTMCell(3))]


def both_ways(mode, sequences=True):
    return [L.Bidirectional(L.LSTM(6, return_sequences=sequences), merge_mode=mode)]


@pytest.mark.parametrize(("layers", "count"), [
    (layers_of_cells, 3), (lambda: both_ways("concat"), 2),
    pytest.param(lambda: both_ways("sum", False), 2, marks=pytest.mark.slow),
    pytest.param(lambda: both_ways("mul"), 2, marks=pytest.mark.slow),
    pytest.param(lambda: both_ways("ave"), 2, marks=pytest.mark.slow),
    (lambda: [keras.Sequential([L.LSTM(5, return_sequences=True), L.LSTM(4)])], 2)])
def test_cells_and_both_directions(tmp_path, layers, count):
    model = functional(layers(), 6)
    given = SEQUENCES[:6, :6]
    predictor = converted(model, tmp_path)
    assert lstms(predictor) == count
    np.testing.assert_allclose(answers(predictor, given), of_keras(model, given), atol=1e-6)


HINDRANCES = [
    (lambda: L.LSTM(3, activation="relu"), "its activation is relu, not tanh"),
    (lambda: L.LSTM(3, recurrent_activation="hard_sigmoid"), "its activation is hard_sigmoid, not sigmoid"),
    (lambda: L.GRU(3), "it is a GRU, for which TFLite has no operator"),
    (lambda: L.Bidirectional(L.SimpleRNN(3)), "it is a SimpleRNN, for which TFLite has no operator"),
    (lambda: L.RNN([L.LSTMCell(3), L.GRUCell(3)]), "its cell is a GRUCell, for which TFLite has no operator"),
    (lambda: L.LSTM(3, stateful=True), "it keeps its state from one call to the next (stateful)")]


@pytest.mark.parametrize(("layer", "reason"), HINDRANCES)
def test_what_stays_a_loop_is_named(layer, reason):
    model = keras.Sequential([keras.Input((4, 2), batch_size=1), layer()])
    one = model.layers[0]
    assert fused.loops(model) == [f"{one.name} ({type(one).__name__}): {reason}"]
    assert fused.fused(model) is model


def test_a_given_state_is_not_ignored(tmp_path):
    """The operator would begin with zeros all the same."""
    keras.utils.set_random_seed(4)
    inputs = keras.Input((5, FEATURES), name="x")
    state = [L.Dense(3, activation="tanh", name=f"state_{number}")(inputs[:, 0]) for number in range(2)]
    model = keras.Model(inputs, {"y": L.LSTM(3)(inputs, initial_state=state)})
    assert fused.loops(model)[0].endswith("it is given an initial state")
    predictor = converted(model, tmp_path)
    assert lstms(predictor) == 0
    given = SEQUENCES[:4, :5]
    np.testing.assert_allclose(answers(predictor, given), of_keras(model, given), atol=1e-6)


@pytest.mark.parametrize(("uses", "reason"), [(1, ""), (2, "its cell state is used")])
def test_the_hidden_state_is_the_last_output_and_the_cell_is_not_to_be_had(tmp_path, uses, reason):
    keras.utils.set_random_seed(5)
    inputs = keras.Input((5, FEATURES), name="x")
    parts = L.LSTM(4, return_sequences=True, return_state=True)(inputs)
    model = keras.Model(inputs, {"y": L.Concatenate()([parts[0][:, 0], parts[uses]])})
    assert [text.split("): ")[1] for text in fused.loops(model)] == [reason] * bool(reason)
    predictor = converted(model, tmp_path)
    assert lstms(predictor) == (not reason)
    given = SEQUENCES[:4, :5]
    np.testing.assert_allclose(answers(predictor, given), of_keras(model, given), atol=1e-6)


def test_sixteen_bits_are_refused_in_a_line(tmp_path):
    model = stacked()
    convert.float_graph(model, functions_of, tmp_path / "graph")
    with pytest.raises(ValueError, match="int16x8: TensorFlow's converter makes no 16-bit activations of UNIDIREC"):
        convert.convert(tmp_path / "graph", "int16x8", [(graph.signature_of(model).name, {"x": SEQUENCES})])


def test_sequences_of_any_length(tmp_path):
    keras.utils.set_random_seed(6)
    model = keras.Sequential([keras.Input((None, FEATURES), name="x"), L.LSTM(5)])
    predictor = converted(model, tmp_path)
    assert lstms(predictor) == 1
    for steps in (7, 3, 20):
        given = SEQUENCES[:2, :steps]
        np.testing.assert_allclose(answers(predictor, given), of_keras(model, given), atol=1e-6)
