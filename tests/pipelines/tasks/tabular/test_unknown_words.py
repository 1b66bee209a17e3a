"""What models answer to words that training does not have."""
import keras
import numpy as np
import pytest

import models
from models.columns import fill_unseen
from tests.pipelines.tasks.tabular.conftest import data_of_columns

WORTH = {"Rome": 30, "Oslo": 20, "Bonn": -10, "Paris": 0}
SETTINGS = {"mlp": {"units": (16,)}, "wide_and_deep": {"units": (16,), "crosses": [("city", "member")]},
            "ft_transformer": {"units": 16, "heads": 2, "depth": 1}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return prices that follow from a city, of which some are rare, but none too rare."""
    generator = np.random.default_rng(0)
    city = generator.choice(list(WORTH), 400, p=[0.6, 0.2, 0.1, 0.1])
    member = generator.choice(["yes", "no"], 400)
    size = generator.normal(50, 10, 400).round(1)
    price = [WORTH[one] for one in city] + size / 2 + np.where(member == "yes", 5, 0) + generator.normal(0, 1, 400)
    columns = {"city": city, "member": member, "size": size, "price": price.round(2)}
    return data_of_columns(tmp_path_factory.mktemp("unknown"), columns, "regression")


def error(model, data):
    """Return how far the answer to an unknown city is from the mean over the known ones, each as often as training has
    it, as a share of what they differ by; the largest over members, others and unknown ones."""
    inputs, _ = data.arrays("train", data.index.splits["train"].examples)
    counts = np.bincount(inputs["city"], minlength=5)
    assert counts[0] == 0
    errors = []
    for member in range(3):
        rows = {"city": np.arange(5), "member": np.full(5, member), "size": np.full(5, 50, "float32")}
        unknown, *known = np.asarray(model(rows)["value"])
        errors.append(abs(unknown - np.average(known, weights=counts[1:])) / np.ptp(known))
    return max(errors)


@pytest.mark.parametrize(("builder", "most"), [
    ("mlp", 0.1), ("wide_and_deep", 0.05), pytest.param("ft_transformer", 0.3, marks=pytest.mark.slow)])
def test_an_unknown_word_is_answered_as_an_average_one(data, builder, most):
    keras.utils.set_random_seed(2)
    model = models.build(builder, **data.task.dimensions(data.index), **SETTINGS[builder])
    inputs, targets = data.arrays("train", data.index.splits["train"].examples)
    deviation = data.index.learnt["target"].statistics["deviation"][0]
    model.compile(keras.optimizers.Adam(0.02), lambda true, value: ((true - value) / deviation)**2)
    model.fit(inputs, {"value": targets["target"]}, epochs=25, batch_size=64, verbose=0)
    before = error(model, data)
    data.task.finish(model, data)
    assert error(model, data) < most
    assert builder == "ft_transformer" or before > 1.5 * most, "an untaught position answers something else"


def test_what_rare_words_have_taught_is_kept():
    position = keras.Input((), name="city", dtype="int32")
    model = keras.Model(position, keras.layers.Embedding(4, 2, name="city_embedding")(position))
    before = model.get_weights()[0]
    fill_unseen(model, {"city": np.array([1, 3, 0, 6])})
    after = model.get_weights()[0]
    np.testing.assert_allclose(after[2], (before[0] + 3 * before[1] + 6 * before[3]) / 10, rtol=1e-6)
    np.testing.assert_array_equal(after[[0, 1, 3]], before[[0, 1, 3]])
