"""The builders of tables: their sizes against closed forms, and what is done to columns inside them."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from export.keras_models import bridge
from models.columns import Column, Columns, Target, numeric_columns

BUILDERS = ("mlp", "wide_and_deep", "ft_transformer")
MIXED = Columns([Column("age", mean=40, deviation=10, missing=38), Column("year", mean=2000, deviation=5, missing=2001),
                 Column("city", words=6)])
SMALL = {"mlp": {"units": (8,)}, "wide_and_deep": {"units": (8,)},
         "ft_transformer": {"units": 8, "heads": 2, "depth": 2}}


def of(name, columns=MIXED, target=Target(classes=3), **settings):
    return models.build(name, columns=columns, target=target, **(settings or SMALL[name]))


def answers(model, **columns):
    given = {name: tf.constant(values) for name, values in columns.items()}
    return np.asarray(next(iter(model(given, training=False).values())))


def test_an_mlp_has_its_dense_layers():
    features, outputs = 5 + 4, 3  # five numbers, and a vocabulary of 7 in 4 numbers
    columns = Columns([*numeric_columns(5).each, Column("w", words=7)])
    model = of("mlp", columns, units=(16, 8))
    assert model.count_params() == 7 * 4 + (features + 1) * 16 + 17 * 8 + 9 * outputs


def test_wide_and_deep_adds_a_linear_model_over_numbers_words_and_crosses():
    columns = Columns([*numeric_columns(4).each, Column("a", words=5), Column("b", words=3)])
    model = of("wide_and_deep", columns, Target(), units=(16,), embedding=4, crosses=(("a", "b"),))
    embedded = 5 * 3 + 3 * 2
    deep = (4 + 3 + 2 + 1) * 16 + 16
    wide = (4 + 1) + 5 + 3 + 5 * 3
    assert model.count_params() == embedded + deep + wide


@pytest.mark.parametrize(("columns", "units", "depth", "outputs"), [(8, 192, 3, 1), (30, 64, 1, 2), (1, 8, 2, 5)])
def test_an_ft_transformer_has_the_papers_parameters(columns, units, depth, outputs):
    """Tokenizer and CLS token; attention, ReGLU with its hidden width of 4/3; normalizations but the very first."""
    hidden = int(units * 4 / 3)
    block = 4 * units * (units + 1) + 2 * hidden * (units + 1) + units * (hidden + 1)
    normalizations = (2 * depth - 1 + 1) * 2 * units
    expected = units * (2 * columns + 1) + depth * block + normalizations + outputs * (units + 1)
    model = of("ft_transformer", numeric_columns(columns), Target(classes=outputs if outputs > 1 else 0), units=units,
               depth=depth)
    assert model.count_params() == expected


def test_the_transformer_starts_within_the_papers_bound():
    token = of("ft_transformer").get_layer("age_token")
    for values in token.get_weights():
        assert 0 < abs(values).max() <= 8**-0.5


@pytest.mark.parametrize("name", BUILDERS)
def test_a_missing_number_is_what_the_column_says(name):
    model = of(name)
    known = answers(model, age=[38.0, 50.0], year=[2010.0, 2001.0], city=[1, 2])
    missing = answers(model, age=[np.nan, 50.0], year=[2010.0, np.nan], city=[1, 2])
    np.testing.assert_allclose(missing, known, atol=1e-6)
    assert np.isfinite(missing).all()


@pytest.mark.parametrize("name", BUILDERS)
def test_numbers_are_standardized_inside(name):
    """The same model of other units says the same of the same people."""
    keras.utils.set_random_seed(1)
    years = of(name)
    centuries = Columns([MIXED.each[0], Column("year", mean=20.0, deviation=0.05, missing=20.01), MIXED.each[2]])
    other = of(name, centuries)
    other.set_weights(years.get_weights())
    columns = {"age": [30.0, 61.0], "city": [0, 5]}
    np.testing.assert_allclose(answers(years, year=[1990.0, 2007.0], **columns),
                               answers(other, year=[19.90, 20.07], **columns), atol=2e-4)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_number_comes_out_in_its_own_units(name):
    keras.utils.set_random_seed(2)
    plain, scaled = (of(name, target=target) for target in (Target(), Target(mean=500.0, deviation=20.0)))
    scaled.set_weights(plain.get_weights())
    columns = {"age": [30.0, 61.0], "year": [1990.0, 2007.0], "city": [0, 5]}
    first, second = answers(plain, **columns), answers(scaled, **columns)
    assert first.shape == (2,)
    np.testing.assert_allclose(second, first * 20 + 500, rtol=1e-6)


@pytest.mark.parametrize("name", BUILDERS)
def test_they_cross_the_bridge(name):
    model = of(name)
    carried = bridge.to_tf_keras(model)
    columns = {"age": [30.0, np.nan], "year": [1990.0, 2007.0], "city": [0, 5]}
    np.testing.assert_allclose(answers(carried, **columns), answers(model, **columns), atol=1e-6)


@pytest.mark.parametrize(("name", "settings", "message"), [
    ("ft_transformer", {"units": 10, "heads": 4}, "10 units do not divide among 4 heads"),
    ("wide_and_deep", {"crosses": (("age", "city"),)}, "age is crossed and is not a category; there are city")])
def test_what_does_not_fit_is_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        of(name, **settings)
