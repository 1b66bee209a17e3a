"""Gates against numbers, and against the same value of another model."""
import pytest

from pipelines.recipe import gates

BASELINES = {"logistic_regression": {"auc": 0.9, "log_loss": 0.3}}


@pytest.mark.parametrize(("gate", "limit", "value", "passed"), [
    ("auc", ">= logistic_regression", 0.9, True), ("auc", "> logistic_regression", 0.9, False),
    ("int8.auc", ">= logistic_regression", 0.89, False), ("log_loss", "<= logistic_regression", 0.2, True),
    ("auc", ">= 0.95", 0.9, False)])
def test_a_limit_is_a_number_or_what_another_model_has(gate, limit, value, passed):
    checked, = gates.check({gate: limit}, {gate: value}, baselines=BASELINES)
    assert checked.passed is passed
    if "logistic" in limit:
        bound = BASELINES["logistic_regression"][gate.rpartition(".")[2]]
        assert checked.limit == f"{limit.split()[0]} {bound:.4g} (logistic_regression)"


def test_what_another_model_does_not_have_is_missed():
    checked, = gates.check({"perplexity": "<= logistic_regression"}, {"perplexity": 2.0}, baselines=BASELINES)
    assert not checked.passed and checked.limit == "<= logistic_regression, which has no perplexity"


def test_a_model_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"is '>= boosting'; give a number, or one of logistic_regression"):
        gates.parse_limit(">= boosting", BASELINES)
    with pytest.raises(ValueError, match="give a comparison and a number"):
        gates.parse_limit(">= boosting")


def test_what_was_not_measured_is_missed():
    """As the mAP of large boxes, where the test set has none."""
    whole, one = gates.check({"map_large": ">= 0.5", "int8.map_large": ">= 0.5", "map": ">= 0"}, {},
                             {"map_large", "int8.map_large"})
    assert [gate.name for gate in (whole, one)] == ["map_large", "int8.map_large"]
    assert not whole.passed and not one.passed and whole.shown == "not made"
