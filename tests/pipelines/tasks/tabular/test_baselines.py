"""scikit-learn's models beside the result: what they are given of words and missing numbers."""
import numpy as np
import pytest
import threadpoolctl
from sklearn import ensemble, linear_model, metrics

from pipelines.tasks.tabular import baselines
from tests.pipelines.tasks.tabular.conftest import data_of_columns


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other at every node of a small tree take far longer where processors are shared."""
    with threadpoolctl.threadpool_limits(1):
        yield


def split(data, part):
    inputs, targets = data.arrays(part, data.index.splits[part].examples)
    return inputs, targets["target"]


def test_boosting_takes_words_as_categories(tmp_path):
    """Positions are in the order of frequency, which says nothing of the price: as numbers they would have to be told
    apart one by one."""
    generator = np.random.default_rng(0)
    worth = generator.normal(0, 10, 30)
    street = generator.integers(0, 30, 600)
    data = data_of_columns(tmp_path, {"street": [f"s{number}" for number in street],
                                      "price": (worth[street] + generator.normal(0, 1, 600)).round(3)}, "regression")
    result = baselines.measured(data)["gradient_boosting"]
    (inputs, prices), (held_out, truths) = split(data, "train"), split(data, "test")
    errors = {}
    for categories in ([0], None):
        model = ensemble.HistGradientBoostingRegressor(random_state=0, categorical_features=categories)
        model.fit(inputs["street"][:, None], prices)
        errors[bool(categories)] = metrics.root_mean_squared_error(truths, model.predict(held_out["street"][:, None]))
    assert result["rmse"] == pytest.approx(errors[True], abs=1e-5) and errors[True] < 0.9 * errors[False]


def test_boosting_takes_more_words_than_it_has_categories(tmp_path):
    generator = np.random.default_rng(0)
    words = generator.permutation(np.repeat(np.arange(400), 3))
    columns = {"word": [f"w{number}" for number in words], "size": generator.normal(size=1200).round(3),
               "price": np.where(generator.random(1200) < 0.5, "low", "high")}
    data = data_of_columns(tmp_path, columns, "classification")
    assert len(data.index.inputs["word"].words) > 300
    assert 0 < baselines.measured(data)["gradient_boosting"]["accuracy"] < 1


def test_the_linear_model_gets_what_each_columns_missing_numbers_count_as(tmp_path):
    generator = np.random.default_rng(1)
    columns = {name: generator.exponential(1, 300).round(3).astype(object) for name in ("a", "b", "c")}
    price = [sum(row) + noise for *row, noise in zip(*columns.values(), generator.normal(0, 0.1, 300), strict=True)]
    for values in columns.values():
        values[generator.random(300) < 0.3] = ""
    said = {"a": {"number": "median"}, "b": {"number": -5}}
    data = data_of_columns(tmp_path, {**columns, "price": price}, "regression", **said)
    (inputs, prices), (held_out, truths) = split(data, "train"), split(data, "test")
    stand = {"a": np.nanmedian(inputs["a"]), "b": -5, "c": np.nanmean(inputs["c"])}

    def matrix(some):
        return np.stack([np.where(np.isnan(some[name]), stand[name], some[name]) for name in stand], axis=1)

    answers = linear_model.LinearRegression().fit(matrix(inputs), prices).predict(matrix(held_out))
    assert baselines.measured(data)["linear_regression"]["rmse"] == pytest.approx(
        metrics.root_mean_squared_error(truths, answers), abs=1e-4)
