"""What simple models of text are worth on the same examples: the most frequent class, and scikit-learn's logistic
regression on the words' TF-IDF."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etils import epy

from pipelines.tasks.raw_texts import texts

with epy.lazy_imports():
    import numpy as np
    import threadpoolctl
    from sklearn import dummy, linear_model, pipeline
    from sklearn.feature_extraction import text as sklearn_text

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

MAJORITY, TF_IDF = "majority_class", "tf_idf_logistic_regression"
NAMES = (MAJORITY, TF_IDF)
#: Steps of the logistic regression, at most.
STEPS = 5000
#: What a probability of 0 is taken for, in its logarithm.
SMALLEST = 1e-12


def measured(data: Data, name: str, target: str) -> dict[str, dict[str, float]]:
    """Return the metrics of the baselines, by their names: fitted on the training split, measured on the test split as
    the model is.

    Args:
        name: of the feature whose words are looked at.
        target: of the classes.
    """
    models: dict[str, Any] = {
        MAJORITY: dummy.DummyClassifier(strategy="most_frequent"),
        TF_IDF: pipeline.make_pipeline(sklearn_text.TfidfVectorizer(), linear_model.LogisticRegression(max_iter=STEPS))}
    learnt, asked = (list(texts(data, part, name)) for part in ("train", "test"))
    known, true = (np.concatenate([targets[target] for _, targets in data.batches(part)]) for part in ("train", "test"))
    result = {}
    with threadpoolctl.threadpool_limits(1):
        for title, model in models.items():
            model.fit(learnt, known)
            scores = np.zeros((len(asked), len(data.index.names(target))))
            scores[:, model.classes_] = model.predict_proba(asked)
            measure = data.task.measure(data.index)
            measure.add({target: true}, {"logits": np.log(np.maximum(scores, SMALLEST))})
            result[title] = measure.result().metrics
    return result
