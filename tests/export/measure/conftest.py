"""The model of two inputs and two outputs."""
from tests.export.predictors.conftest import converted, examples, saved, weights

__all__ = ["converted", "examples", "saved", "weights"]
