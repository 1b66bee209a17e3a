"""What scikit-learn's usual models are worth on the same rows: the linear one, and gradient boosting."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etils import epy

from pipelines.tasks.evaluation import Measure
from pipelines.tasks.tabular.choice import TARGET

with epy.lazy_imports():
    import numpy as np
    from sklearn import compose, ensemble, impute, linear_model, pipeline, preprocessing

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

#: Of a classification, and of a regression.
CLASSIFIERS = ("logistic_regression", "gradient_boosting")
REGRESSORS = ("linear_regression", "gradient_boosting")
#: Of the boosting's draws.
SEED = 0
#: Steps of the logistic regression, at most.
STEPS = 5000
#: What a probability of 0 is taken for, in its logarithm.
SMALLEST = 1e-12


def measured(data: Data) -> dict[str, dict[str, float]]:
    """Return the metrics of the baselines, by their names: fitted on the training split, measured on the test split as
    the model is."""
    inputs, targets = data.arrays("train", data.index.splits["train"].examples)
    words = [data.index.inputs[name].dtype == "int32" for name in data.index.inputs]
    medians = {data.features[name].missing for name in data.index.inputs  # type: ignore[attr-defined]
               if data.features[name].entry_name == "number"}
    fitted = _models(data, np.array(words), "median" if medians == {"median"} else "mean")
    result = {}
    for name, model in fitted.items():
        model.fit(_matrix(inputs), targets[TARGET])
        measure: Measure = data.task.measure(data.index)
        for some, true in data.batches("test"):
            measure.add(true, _answers(model, _matrix(some), len(data.index.names(TARGET))))
        result[name] = measure.result().metrics
    return result


def _models(data: Data, words: np.ndarray, missing: str) -> dict[str, Any]:
    """Return the models, not fitted: numbers standardized and words one-hot for the linear one; boosting takes missing
    numbers as they are, and words by their positions.

    Args:
        words: whether each column is one of words.
        missing: what stands for a missing number, as scikit-learn's SimpleImputer calls it.
    """
    numbers = pipeline.make_pipeline(impute.SimpleImputer(strategy=missing, keep_empty_features=True),
                                     preprocessing.StandardScaler())
    columns = compose.ColumnTransformer([
        ("numbers", numbers, np.flatnonzero(~words)),
        ("words", preprocessing.OneHotEncoder(handle_unknown="ignore"), np.flatnonzero(words))])
    if data.index.names(TARGET):
        linear, boosting = CLASSIFIERS
        return {linear: pipeline.make_pipeline(columns, linear_model.LogisticRegression(max_iter=STEPS)),
                boosting: ensemble.HistGradientBoostingClassifier(random_state=SEED)}
    linear, boosting = REGRESSORS
    return {linear: pipeline.make_pipeline(columns, linear_model.LinearRegression()),
            boosting: ensemble.HistGradientBoostingRegressor(random_state=SEED)}


def _matrix(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the columns side by side, (rows, columns)."""
    return np.stack([values.astype(float) for values in inputs.values()], axis=1)


def _answers(model: Any, rows: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Return answers as the task's models give them; classes that the training data lack have a probability of 0."""
    if not classes:
        return {"value": model.predict(rows)}
    scores = np.zeros((len(rows), classes))
    scores[:, model.classes_] = model.predict_proba(rows)
    return {"logits": np.log(np.maximum(scores, SMALLEST))}
