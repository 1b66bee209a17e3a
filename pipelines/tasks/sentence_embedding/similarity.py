"""Sentence similarity: embeddings learnt from pairs of texts that people have scored."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from export.signature import Arrays
from models.embedding import EMBEDDING
from pipelines.features.number import Number
from pipelines.ingest.index import Index
from pipelines.tasks.evaluation import Evaluation, Metric, rounded
from pipelines.tasks.sentence_embedding.task import OTHER, SentenceEmbedding
from pipelines.tasks.task import Measure
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss

with epy.lazy_imports():
    import numpy as np
    import scipy.stats
    import tensorflow as tf

if TYPE_CHECKING:
    from export.predictors import Predictor
    from pipelines.ingest.data import Data

SCORE = "score"


class SentenceSimilarity(SentenceEmbedding, name="sentence_similarity"):
    """Embeddings whose cosines follow the scores that people gave to pairs of texts (Reimers and Gurevych,
    "Sentence-BERT", 2019, section 3: the regression objective).

    Scores may be of any range: one that is two deviations below the mean of the training split stands for a cosine of
    0, one that is as far above it for 1.
    """

    targets = {SCORE: Number}
    metrics = (Metric(name="spearman", label="Spearman"), Metric(name="pearson", label="Pearson"))
    watched = (Metric(name="error", label="error of the cosine", better="lower"),)
    baselines = ()
    loss = "mse"

    def objective(self, loss: Loss, index: Index) -> Objective:
        compare, scaled = loss.build([], "values"), _scaled(index)

        def total(inputs: Any, targets: Any, outputs: Any) -> Any:
            return compare(scaled(targets[SCORE])[:, None], _cosine(outputs)[:, None])

        return total

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        scaled = _scaled(index)
        return {"error": lambda targets, outputs: tf.abs(scaled(targets[SCORE]) - _cosine(outputs))}

    def measure(self, index: Index) -> Measure:
        return Correlation()

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        return evaluation

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        return (f"It makes vectors of texts, whose cosines follow the scores of held-out pairs with a rank correlation "
                f"of {evaluation.metrics['spearman']:.3f} (Spearman).")


class Correlation:
    """Collects the cosines of pairs and their scores."""

    def __init__(self) -> None:
        self.cosines: list[np.ndarray] = []
        self.scores: list[np.ndarray] = []

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take a batch; return 1 less the cosine of each pair, (batch,)."""
        cosines = (np.asarray(outputs[EMBEDDING]) * np.asarray(outputs[OTHER])).sum(axis=1)
        self.cosines.append(cosines)
        self.scores.append(np.asarray(targets[SCORE]))
        return 1 - cosines

    def result(self, folder: Path | None = None) -> Evaluation:
        cosines, scores = np.concatenate(self.cosines), np.concatenate(self.scores)
        values = {"spearman": float(scipy.stats.spearmanr(cosines, scores).statistic),
                  "pearson": float(scipy.stats.pearsonr(cosines, scores).statistic)}
        return Evaluation(metrics=rounded(values), limits=[
            "The scores are those of people who saw pairs like those of the training texts."])


def _cosine(outputs: Any) -> Any:
    """Return the cosine of each pair, (pairs,)."""
    first, second = tf.split(outputs[EMBEDDING], 2, axis=0)
    return tf.reduce_sum(first * second, axis=-1)


def _scaled(index: Index) -> Callable[[Any], Any]:
    """Return the function from scores to cosines between 0 and 1: two deviations around the mean of the training
    split."""
    learnt = index.learnt[SCORE].statistics
    mean, deviation = learnt["mean"][0], learnt["deviation"][0]
    return lambda scores: tf.clip_by_value(0.5 + (scores - mean) / (4 * deviation), 0.0, 1.0)
