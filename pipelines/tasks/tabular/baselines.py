"""What scikit-learn's usual models are worth on the same rows: the linear one, and gradient boosting."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etils import epy

from pipelines.tasks.evaluation import Measure
from pipelines.tasks.tabular.choice import TARGET

with epy.lazy_imports():
    import numpy as np
    import threadpoolctl
    from sklearn import compose, ensemble, linear_model, pipeline, preprocessing

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

#: Of a classification, and of a regression.
CLASSIFIERS = ("logistic_regression", "gradient_boosting")
REGRESSORS = ("linear_regression", "gradient_boosting")
#: Of the boosting's draws.
SEED = 0
#: With fewer numbers than this, threads that wait for each other at every node of a tree cost more than they give.
FEW = 1_000_000
#: Steps of the logistic regression, at most.
STEPS = 5000
#: Categories that a column may have for the boosting, the one of unknown words among them.
MOST_CATEGORIES = 255
#: What a probability of 0 is taken for, in its logarithm.
SMALLEST = 1e-12


def measured(data: Data) -> dict[str, dict[str, float]]:
    """Return the metrics of the baselines, by their names: fitted on the training split, measured on the test split as
    the model is."""
    inputs, targets = data.arrays("train", data.index.splits["train"].examples)
    rows = _matrix(inputs)
    result = {}
    with threadpoolctl.threadpool_limits(1 if rows.size < FEW else None):
        for name, model in _models(data).items():
            model.fit(rows, targets[TARGET])
            measure: Measure = data.task.measure(data.index)
            for some, true in data.batches("test"):
                measure.add(true, _answers(model, _matrix(some), len(data.index.names(TARGET))))
            result[name] = measure.result().metrics
    return result


def _models(data: Data) -> dict[str, Any]:
    """Return the models, not fitted, which take columns side by side.

    The linear one gets what the model gets: missing numbers replaced by what they count as, standardized, and words
    one-hot. Boosting takes missing numbers as they are, and words as categories.
    """
    words = np.array([bool(tensor.words) for tensor in data.index.inputs.values()])
    missing = np.array([tensor.missing or 0 for tensor in data.index.inputs.values()])
    columns = pipeline.make_pipeline(
        preprocessing.FunctionTransformer(_filled, kw_args={"missing": missing}),
        compose.ColumnTransformer([
            ("numbers", preprocessing.StandardScaler(), np.flatnonzero(~words)),
            ("words", preprocessing.OneHotEncoder(handle_unknown="ignore"), np.flatnonzero(words))]))
    frequent = preprocessing.FunctionTransformer(_frequent, kw_args={"words": words})
    boosted = {"categorical_features": words, "random_state": SEED}
    if data.index.names(TARGET):
        linear, boosting = CLASSIFIERS
        return {linear: pipeline.make_pipeline(columns, linear_model.LogisticRegression(max_iter=STEPS)),
                boosting: pipeline.make_pipeline(frequent, ensemble.HistGradientBoostingClassifier(**boosted))}
    linear, boosting = REGRESSORS
    return {linear: pipeline.make_pipeline(columns, linear_model.LinearRegression()),
            boosting: pipeline.make_pipeline(frequent, ensemble.HistGradientBoostingRegressor(**boosted))}


def _filled(rows: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return rows with what each column's missing numbers count as in their place."""
    return np.where(np.isnan(rows), missing, rows)


def _frequent(rows: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Return rows whose words are among the most frequent ones; rarer ones are unknown, position 0."""
    return np.where(words & (rows >= MOST_CATEGORIES), 0, rows)


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
