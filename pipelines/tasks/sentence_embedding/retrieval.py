"""How well texts find their partners: each first text of the test pairs looks among all second ones."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from etils import epy

from export.signature import Arrays
from pipelines.features.pair_text import BETWEEN
from pipelines.tasks.evaluation import Evaluation, Metric, rounded
from pipelines.tasks.raw_texts import texts

with epy.lazy_imports():
    import numpy as np
    from sklearn.feature_extraction import text as sklearn_text

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

METRICS = (Metric(name="recall_at_1", label="recall@1"), Metric(name="recall_at_5", label="recall@5"),
           Metric(name="mean_reciprocal_rank", label="MRR", shown=False))
TF_IDF = "tf_idf"
#: Rows of cosines that are looked at once.
ROWS = 512


class Retrieval:
    """Collects the embeddings of pairs.

    Args:
        first, second: the names of both embeddings.
        target: of what is to be found: a text that is there twice is found where one of the two is.
    """

    def __init__(self, first: str, second: str, target: str):
        self.names, self.target = (first, second), target
        self.embeddings: list[tuple[np.ndarray, np.ndarray]] = []
        self.sought: list[bytes] = []

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take a batch; return 1 less the cosine of each pair, (batch,)."""
        first, second = (np.asarray(outputs[name], np.float32) for name in self.names)
        self.embeddings.append((first, second))
        self.sought += [row.tobytes() for row in np.ascontiguousarray(targets[self.target])]
        return 1 - (first * second).sum(axis=1)

    def result(self, folder: Path | None = None) -> Evaluation:
        """Return how often the partner is the nearest text, or one of the nearest five, and the mean of 1 / its
        rank."""
        first, second = (np.concatenate(parts) for parts in zip(*self.embeddings, strict=True))
        _, number = np.unique(np.array(self.sought, object), return_inverse=True)
        found = ranks(first, second, number)
        return Evaluation(metrics=metrics(found), limits=[
            f"Each of the {len(found):,} first texts of the test pairs looks for its partner among the "
            f"{len(found):,} second ones: among more, fewer are found.",
            "Near texts are such as were pairs in training; that they mean the same is no more than likely."])


def ranks(first: np.ndarray, second: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Return at which rank each first text finds its partner, from 1, (pairs,): of texts that are as near the worst.

    Args:
        first, second: embeddings, (pairs, units).
        number: of each second text, the same for equal ones, (pairs,).
    """
    result = []
    for start in range(0, len(first), ROWS):
        cosines = first[start:start + ROWS] @ second.T
        same = number[start:start + ROWS, None] == number[None]
        best = np.where(same, cosines, -np.inf).max(axis=1, keepdims=True)
        result.append(1 + ((cosines >= best) & ~same).sum(axis=1))
    return np.concatenate(result)


def metrics(found: np.ndarray) -> dict[str, float]:
    """Return the metrics of ranks, by name."""
    return rounded({"recall_at_1": float((found <= 1).mean()), "recall_at_5": float((found <= 5).mean()),
                    "mean_reciprocal_rank": float((1 / found).mean())})


def by_words(data: Data, name: str, target: str) -> dict[str, dict[str, float]]:
    """Return what the cosines of the words' TF-IDF are worth on the test pairs, by scikit-learn, which has counted
    words in the training texts.

    Args:
        name: of the feature that is made of pairs.
        target: of what is to be found.
    """
    learnt, asked = ([text.split(BETWEEN, 1) for text in texts(data, part, name)] for part in ("train", "test"))
    vectors = sklearn_text.TfidfVectorizer().fit([text for pair in learnt for text in pair])
    first, second = (vectors.transform([pair[place] for pair in asked]).toarray().astype("float32") for place in (0, 1))
    rows = np.concatenate([targets[target] for _, targets in data.batches("test")])
    _, number = np.unique(rows, axis=0, return_inverse=True)
    return {TF_IDF: metrics(ranks(first, second, number.ravel()))}
