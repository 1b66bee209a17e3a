"""Outputs are compared as their roles ask for; every number is held against its definition."""
import numpy as np
import pytest

from export.measure import compare as comparing
from export.measure.compare import BINS, Comparison, Difference, compare, order_independent, worst
from export.predictors import LiteRTPredictor
from export.signature import Signature, Tensor


def tensor(role, shape=(4,), dtype="float32", name="y", **settings):
    return Tensor(name=name, dtype=dtype, shape=shape, role=role, **settings)


def difference(values, expected, role, **settings):
    values, expected = np.asarray(values), np.asarray(expected)
    return compare({"y": values}, {"y": expected}, [tensor(role, values.shape[1:], **settings)])["y"]


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def test_errors_are_the_largest_and_the_mean_of_all_numbers():
    result = difference([[1.0, 2.0], [3.0, 0.0]], [[1.5, 2.0], [0.0, 1.0]], "logits")
    assert result == Difference(max=3.0, mean=4.5 / 4, agreement=0.5)


def test_logits_agree_where_the_best_class_is_the_same(generator):
    values, expected = generator.normal(size=(2, 200, 10))
    assert difference(values, expected, "logits").agreement == (values.argmax(1) == expected.argmax(1)).mean()


def test_dense_logits_agree_position_by_position(generator):
    values, expected = generator.normal(size=(2, 3, 5, 7, 4))
    result = difference(values, expected, "logits")
    assert result.agreement == (values.argmax(-1) == expected.argmax(-1)).mean()
    assert 0 < result.agreement < 1


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_a_single_logit_agrees_where_its_sign_does(shape):
    result = difference(np.reshape([-1.0, 2.0, 3.0, -4.0], shape), np.reshape([-2.0, 1.0, -0.1, -0.1], shape), "logits")
    assert result.agreement == 0.75


@pytest.mark.parametrize("role", ["scores", "boxes", "values", "waveform", "length", "state", "noise"])
def test_values_agree_within_a_share_of_the_largest_reference_value(role):
    expected = np.array([[100.0, 0.0], [0.0, 0.0], [1.0, 2.0], [-50.0, 3.0]])
    values = expected + np.array([[0.0, 0.9], [0.9, -0.9], [1.1, 0.0], [0.0, 0.0]])
    assert difference(values, expected, role, tolerance=0.01).agreement == 0.75
    assert difference(values, expected, role, tolerance=0.012).agreement == 1
    assert difference(values, expected, role, tolerance=0.0).agreement == 0.25, "only what is equal"


def test_the_largest_value_may_come_last():
    small, large = np.array([[0.0], [1.0]]), np.array([[1000.0]])
    comparison = Comparison([tensor("values", (1,), tolerance=1e-3)])
    comparison.add({"y": small + 0.5}, {"y": small})
    assert comparison.result()["y"].agreement == 0
    comparison.add({"y": large}, {"y": large})
    assert comparison.result()["y"].agreement == 1


def test_embeddings_agree_where_they_point_the_same_way():
    angle = np.arccos(0.99)
    expected = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    near, far = ([np.cos(share * angle), np.sin(share * angle)] for share in (0.9, 1.1))
    values = np.array([3 * np.array(near), far, [0.0, 0.0], [1e-3, 0.0]])
    each = [difference(values[one:one + 1], expected[one:one + 1], "embedding").agreement for one in range(4)]
    assert each == [1, 0, 1, 0]
    assert difference(values, expected, "embedding").agreement == 0.5


@pytest.mark.parametrize("role", ["tokens", "mask"])
def test_numbers_of_classes_must_be_equal(role):
    result = difference(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1, 2, 3], [4, 9, 6]]), role, dtype="int32")
    assert result == Difference(max=4, mean=4 / 6, agreement=5 / 6)


@pytest.mark.parametrize(("dtype", "peak"), [("uint8", 255.0), ("float32", 0.5)])
def test_images_agree_from_forty_decibels_on(dtype, peak, generator):
    expected = np.full((3, 10, 10, 3), 0.5 if dtype == "float32" else 100).astype(dtype)
    values = expected.copy()
    step = 0.01 if dtype == "float32" else 3
    for example, changed in enumerate((0, 40, 290)):  # of 300 numbers
        values[example].reshape(-1)[:changed] += np.asarray(step, dtype)
    ratios = [20 * np.log10(peak / max(np.sqrt(changed / 300) * step, 1e-12)) for changed in (0, 40, 290)]
    result = difference(values, expected, "image", dtype=dtype)
    assert result.agreement == np.mean([ratio >= 40 for ratio in ratios])
    assert result.agreement == 2 / 3
    assert result.max == pytest.approx(step, rel=1e-5)


def test_an_integer_image_is_as_bright_as_it_can_be_whatever_it_shows():
    black = np.zeros((1, 4, 4, 1), "uint8")
    assert difference(black + np.uint8(2), black, "image", dtype="uint8").agreement == 1, "42 decibels of 255"
    assert difference(black + np.uint8(3), black, "image", dtype="uint8").agreement == 0, "38.6 decibels of 255"


def test_texts_are_the_same_or_not():
    values, expected = np.array([b"one", b"two", b"three"], object), np.array([b"one", b"2", b"three"], object)
    assert difference(values, expected, "text", dtype="string") == Difference(max=1, mean=1 / 3, agreement=2 / 3)
    assert difference(values[:1], expected[:1], "text", dtype="string") == Difference(max=0, mean=0, agreement=1)


@pytest.mark.parametrize("role", ["logits", "values", "embedding", "tokens", "image"])
def test_batches_add_up_to_the_whole(role, generator):
    expected = generator.normal(size=(50, 6, 4)) * 100
    values = expected + generator.normal(size=expected.shape) * np.geomspace(1e-6, 10, 50)[:, None, None]
    outputs = [tensor(role, (6, 4), tolerance=1e-3), tensor("values", (6, 4), name="z")]
    whole, parts = Comparison(outputs), Comparison(outputs)
    whole.add({"y": values, "z": values}, {"y": expected, "z": expected})
    for start, end in ((0, 1), (1, 20), (20, 50)):
        both = [{"y": array[start:end], "z": array[start:end]} for array in (values, expected)]
        parts.add(*both)
    for name, one in whole.result().items():
        other = parts.result()[name]
        assert other.max == one.max and other.agreement == one.agreement and other.mean == pytest.approx(one.mean)
    assert parts.count == whole.count == 50
    np.testing.assert_array_equal(parts.histogram, whole.histogram)
    assert parts.histogram.sum() == 2 * values.size
    assert 0 < whole.result()["z"].agreement < 1


def test_memory_does_not_grow_with_the_batches(generator):
    import pickle

    comparison, sizes = Comparison([tensor(role, (6,), name=role) for role in ("logits", "values", "image")]), []
    for _ in range(50):
        batch = {name: generator.normal(size=(100, 6)) for name in ("logits", "values", "image")}
        comparison.add(batch, {name: value + generator.normal(size=value.shape) for name, value in batch.items()})
        sizes.append(len(pickle.dumps(comparison)))
    assert sizes[-1] <= sizes[0] + 100


def test_the_histogram_has_eight_bins_a_decade_and_holds_what_lies_beyond_at_its_ends():
    np.testing.assert_allclose(BINS, np.logspace(-8, 2, 81), rtol=1e-12)
    comparison = Comparison([tensor("values", (4,))])
    comparison.add({"y": np.array([[0.0, 1e-9, 1.5, 1e6]])}, {"y": np.zeros((1, 4))})
    filled = np.flatnonzero(comparison.histogram)
    assert dict(zip(filled.tolist(), comparison.histogram[filled].tolist(), strict=True)) == {0: 2, 65: 1, 79: 1}
    assert BINS[65] <= 1.5 < BINS[66]


def test_an_outputs_dtype_does_not_matter():
    values, expected = np.array([[200, 3]], "uint8"), np.array([[3, 200]], "uint8")
    assert difference(values, expected, "values").max == 197
    assert difference(values.astype("float16"), expected.astype("float32"), "values").max == 197
    assert difference(np.array([[True, False]]), np.array([[True, True]]), "values", dtype="bool").mean == 0.5


def test_outputs_that_are_none_are_refused_by_name():
    outputs = [tensor("logits", (2,)), tensor("values", (2,), name="z")]
    good = {"y": np.zeros((2, 2)), "z": np.zeros((2, 2))}
    broken = np.array([[np.nan, 1], [1, 2]])
    for bad, expected, message in (
            ({**good, "z": broken}, good, "z: the artifact answers nan or infinity on 1 of 2 examples"),
            ({**good, "z": broken * np.inf}, good, "z: the artifact answers nan or infinity on 2 of 2 examples"),
            (good, {**good, "y": broken}, "y: the trained model answers nan or infinity on 1 of 2 examples"),
            ({**good, "y": np.zeros((2, 3))}, good, r"y: the artifact answers \(2, 3\), the trained model \(2, 2\)"),
            ({"y": good["y"]}, good, "z: the artifact does not give it; it gives y"),
            (good, {}, "y: the trained model does not give it; it gives nothing")):
        with pytest.raises(ValueError, match=message):
            compare(bad, expected, outputs)
    assert set(compare({**good, "more": broken}, good, outputs)) == {"y", "z"}


def test_nothing_compared_is_no_proof():
    with pytest.raises(ValueError, match="no examples"):
        Comparison([tensor("logits")]).result()


def test_the_worst_of_all_outputs():
    result = worst({"a": Difference(max=1, mean=0.5, agreement=0.9), "b": Difference(max=2, mean=0.1, agreement=1.0)})
    assert result == Difference(max=2, mean=0.5, agreement=0.9)


class Forgetful:
    """Gives the brightness of an image beside its age, and a little of the example before: what a kept state does."""

    signatures = {"serving_default": Signature(
        inputs=(tensor("image", (4, 4, 1), name="image"), tensor("values", (), name="age")),
        outputs=(tensor("values", (2,)), tensor("text", (), "string", "word")))}

    def __init__(self, leak=0.0, leaks_words=False):
        self.leak, self.leaks_words, self.before = leak, leaks_words, 0.0

    def predict(self, inputs, signature="serving_default"):
        values, words = [], []
        for image, age in zip(inputs["image"], inputs["age"], strict=True):
            own = float(image.mean())
            values.append([own + self.leak * self.before, age])
            words.append(b"brighter" if self.leaks_words and own > self.before else b"an image")
            self.before = own
        return {"y": np.array(values), "word": np.array(words, object)}


@pytest.mark.parametrize(("settings", "independent"), [
    ({}, True), ({"leak": 0.01}, False), ({"leaks_words": True}, False)])
def test_a_state_that_is_kept_between_calls_is_noticed(settings, independent, generator):
    inputs = {"image": generator.integers(0, 256, (50, 4, 4, 1)).astype("uint8"), "age": generator.normal(size=50)}
    predictor = Forgetful(**settings)
    outputs = predictor.predict(inputs)
    assert order_independent(predictor, inputs, outputs) is independent
    assert order_independent(predictor, inputs, {"y": outputs["y"]}) is not bool(settings.get("leak"))


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_a_file_of_several_inputs_keeps_nothing_between_calls(name, converted, examples):
    predictor, inputs = LiteRTPredictor(converted[name]), examples(20)
    assert order_independent(predictor, inputs, predictor.predict(inputs))


def test_measured_errors_are_counted_finely_over_sixty_decades():
    errors = comparing.Errors()
    errors.add(np.array([0.0, 0.0, 1e-40, 1e-20, 1.0, 1e20, 1e40]))
    assert [errors.within(limit) for limit in (0.0, 1e-29, 1e-10, 1.01, 1e25)] == [2, 3, 4, 5, 6]
    assert errors.count == 7
